"""Models and adapters brought in: what passes becomes a version with its facts, what does not says why."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from flask import Flask
from safetensors.torch import save
from tests.unit.server.conftest import Api
from tests.unit.server.import_setting import brought, kohya_file, tiny_adapter, upload, work
from tests.unit.server.test_catalogue import person

from fedflow.federation.exports import stored_adapter
from fedflow.models import adapter_bytes, checkpoint_tensors, open_model
from fedflow.models.archives import unpack
from fedflow.plan import Plan
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Import, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import catalogue, files, imports, jobs, registry, releases, runs
from fedflow.server.services.identity import FIRST, SERVER, TOKEN_FILE, Caller, first_coordinator
from fedflow.server.services.imports import Allowed, Wanted
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import place_of
from fedflow.server.worker.main import ROUNDS, carry_out

ADMIN = Caller("person", FIRST, name="coordinator", is_admin=True)
LORA = Wanted("adapter", "foxes", "upload", "foxes.safetensors")


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """One database: what is brought in is the same on both, the rows are tested by the schema and the back-up."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def store(store: Store) -> Store:
    first_coordinator(store)
    return store


@pytest.fixture
def coordinator(app: Flask, store: Store) -> Api:
    return Api(app.test_client(), (store.folder / TOKEN_FILE).read_text().strip())


def version_of(store: Store, import_id: str) -> Version:
    row = imports.one(store, SERVER, import_id)
    assert row.phase == "done", row.message
    assert row.version_id is not None
    with store.read() as session:
        return session.get_one(Version, row.version_id)


def zipped(folder: Path, beneath: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, f"{beneath}{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


@pytest.fixture
def model(store: Store, federation_id: str, tiny_model_folder: Path) -> Version:
    """The tiny model, brought in as a zip of its folder."""
    wanted = Wanted("model", "tiny", "upload", "tiny.zip")
    return version_of(store, brought(store, federation_id, wanted, zipped(tiny_model_folder, "tiny/"), ADMIN))


def test_a_kohya_lora_becomes_a_version_with_its_facts(
    store: Store, federation_id: str, tiny_model_folder: Path, model: Version
) -> None:
    content = kohya_file(tiny_model_folder)
    wanted = Wanted("adapter", "foxes", "upload", "foxes.safetensors", model.id)
    owner = person(store, "owner", federation_id, "participant")
    upload_id, sha256 = upload(store, owner, content)
    made = imports.hand_in(store, owner, federation_id, wanted, upload_id, sha256)
    assert imports.one(store, owner, made).phase == "waiting"
    work(store)
    version = version_of(store, made)
    assert version.facts == {
        "from": "foxes.safetensors",
        "source": "upload",
        "sha256": sha256,
        "format": "kohya",
        "family": "other",
        "rank": 2,
        "alpha": 4.0,
        "modules": len(tiny_adapter(tiny_model_folder)),
        "trigger": "foxy, red fox",
    }
    artifact = catalogue.one(store, owner, version.artifact_id)
    assert (artifact.owner_id, artifact.trigger_words) == (owner.id, ["foxy", "red fox"])
    assert [each.name for _, each in registry.lineage(store, owner, version.id)] == ["foxes", "tiny"]
    kept, sent = stored_adapter(store.blobs, version.content), tiny_adapter(tiny_model_folder)
    assert kept.keys() == sent.keys()
    assert all(torch.equal(kept[key].delta(), sent[key].delta()) for key in sent)
    assert version.files.keys() == {"diffusers", "kohya"}
    assert releases.release(store, owner, version.id, "v1", "")
    with pytest.raises(Conflict, match="was made from version 1 of 'tiny'"):
        catalogue.delete_version(store, SERVER, model.id)


def test_what_was_taken_in_outlives_a_collection_of_files(
    store: Store, federation_id: str, model: Version, clock: object
) -> None:
    clock.now += 3 * files.UNUSED_S  # type: ignore[attr-defined]
    files.collect(store, upload_ttl_s=1.0)
    listed = json.loads(store.blobs.get(model.content).read_bytes())
    assert len(listed) > 5
    assert all(each["sha256"] in store.blobs for each in listed)


def test_pefts_settings_beside_the_file_say_its_alpha(
    store: Store, federation_id: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    adapter = tiny_adapter(tiny_model_folder, rank=2, alpha=6.0)
    folder = tmp_path / "peft"
    folder.mkdir()
    tensors = {}
    for key, each in adapter.items():
        stem = f"base_model.model.{key.removeprefix('unet.')}"
        tensors |= {f"{stem}.lora_A.weight": each.A, f"{stem}.lora_B.weight": each.B}
    (folder / "adapter_model.safetensors").write_bytes(save(tensors))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6}))
    version = version_of(store, brought(store, federation_id, LORA, zipped(folder), ADMIN))
    assert (version.facts["format"], version.facts["alpha"]) == ("peft", 6.0)
    kept = stored_adapter(store.blobs, version.content)
    assert all(torch.equal(kept[key].delta(), adapter[key].delta()) for key in adapter)


def test_a_checkpoint_takes_its_settings_from_a_model_that_is_here(
    store: Store, federation_id: str, tiny_model_folder: Path, model: Version
) -> None:
    opened = open_model(str(tiny_model_folder))
    with torch.no_grad():
        opened.unet.conv_in.weight += 1.0  # another model of the same kind
    content = save({name: tensor.contiguous() for name, tensor in checkpoint_tensors(opened).items()})
    wanted = Wanted("model", "other", "upload", "other.safetensors", model.id)
    version = version_of(store, brought(store, federation_id, wanted, content, ADMIN))
    assert version.facts["format"] == "checkpoint"
    assert version.content_hash != model.content_hash
    again = imports.one(store, SERVER, brought(store, federation_id, wanted, content, ADMIN))
    assert again.message == "these weights are here already, as version 1 of 'other'; take that one"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04pickle" * 10, "is not a safetensors file, or is cut off"),
        (b"\xff\xff\xff\x7f" + bytes(60), "is not a safetensors file, or is cut off"),
        ((200_000_000).to_bytes(8, "little") + bytes(100), "is not a safetensors file, or is cut off"),
        (save({"weight": torch.zeros(2)}), "is no part of a plain LoRA"),
        (b"PK\x03\x04 no zip after all", "is not a safetensors file, or is cut off"),
    ],
)
def test_what_is_no_adapter_is_refused_in_one_line(
    store: Store, federation_id: str, content: bytes, message: str
) -> None:
    made = brought(store, federation_id, LORA, content, ADMIN)
    row = imports.one(store, ADMIN, made)
    assert row.phase == "failed"
    assert message in row.message
    assert row.message.startswith("foxes.safetensors: ")
    assert str(store.folder) not in row.message
    assert "\n" not in row.message
    assert registry.artifacts(store, SERVER, registry.ADAPTER, "", 10) == []


def test_an_adapter_with_nan_or_of_another_base_is_refused(
    store: Store, federation_id: str, tiny_model_folder: Path, model: Version
) -> None:
    adapter = tiny_adapter(tiny_model_folder)
    first = next(iter(adapter.values()))
    first.A[0, 0] = float("nan")
    row = imports.one(
        store, SERVER, brought(store, federation_id, LORA, adapter_bytes(adapter, "diffusers", {}), ADMIN)
    )
    assert "holds NaN or Inf" in row.message
    other = {f"unet.{name}": each for name, each in (("mid_block.attentions.7.proj_in", first),)}
    first.A[0, 0] = 0.0
    wanted = Wanted("adapter", "foxes", "upload", "foxes.safetensors", model.id)
    made = brought(store, federation_id, wanted, adapter_bytes(other, "diffusers", {}), ADMIN)
    assert "was it trained on another base model?" in imports.one(store, SERVER, made).message


def test_a_model_takes_only_files_that_models_have(
    store: Store, federation_id: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "unet" / "evil.py").write_text("raise SystemExit")
    (folder / "unet" / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
    wanted = Wanted("model", "tiny", "upload", "tiny.zip")
    version = version_of(store, brought(store, federation_id, wanted, zipped(folder), ADMIN))
    names = {each["path"] for each in json.loads(store.blobs.get(version.content).read_bytes())}
    assert "unet/diffusion_pytorch_model.safetensors" in names
    assert not any(name.endswith((".py", ".bin", "adapter_config.json")) for name in names)


@pytest.mark.parametrize("where", ["../x.safetensors", "..", "/etc/x.safetensors", "a/b.safetensors"])
def test_an_index_of_weights_names_no_file_elsewhere(
    store: Store, federation_id: str, tiny_model_folder: Path, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"conv_in.weight": where}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    made = brought(store, federation_id, Wanted("model", "tiny", "upload", "tiny.zip"), zipped(folder), ADMIN)
    assert "names files elsewhere" in imports.one(store, SERVER, made).message


def packed(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, compression
            archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (packed(("../x.json", b"")), "leads elsewhere"),
        (packed(("/x.json", b"")), "leads elsewhere"),
        (packed(("a\\..\\x.json", b"")), "leads elsewhere"),
        (packed(("a/b/c/d/e.json", b"")), "leads elsewhere"),
        (packed(("unet", b"/etc/passwd"), mode=0o120777), "holds the link"),
        (packed(("x.json", bytes(40_000_000)), compression=zipfile.ZIP_DEFLATED), "which no weights do"),
        (packed(("x.json", bytes(2_000_000))), "1000000 are allowed"),
        (packed(*((f"{number}.json", b"") for number in range(1001))), "more than 1000 files"),
        (packed(("x.json", b"abc"))[:-30], "cannot be unpacked"),
    ],
)
def test_an_archive_that_means_harm_unpacks_nothing(archive: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(archive)
    most = 1_000_000 if len(archive) > 1_000_000 else 100_000_000
    with pytest.raises(Exception, match=message):
        unpack(path, tmp_path / "out", most)
    assert not (tmp_path / "out").exists()


def test_only_an_administrator_reads_the_servers_folder_and_nothing_beside_it(
    store: Store, federation_id: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder, secret = tmp_path / "imports", tmp_path / "secret.safetensors"
    (folder / "lora").mkdir(parents=True)
    secret.write_bytes(kohya_file(tiny_model_folder))
    shutil.copy(secret, folder / "lora" / "foxes.safetensors")
    (folder / "link.safetensors").symlink_to(secret)
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    allowed = Allowed(folder, hub=False)

    def ask(place: str, caller: Caller = ADMIN) -> str:
        return imports.ask(store, caller, federation_id, Wanted("adapter", "foxes", "folder", place), allowed)

    with pytest.raises(Forbidden, match="only an administrator of the server may import from its folder"):
        ask("lora/foxes.safetensors", coordinator)
    for place in ("../secret.safetensors", str(secret), "link.safetensors", "lora/../../secret.safetensors", ".", "x"):
        with pytest.raises(Unprocessable, match="is not in the server's folder of imports"):
            ask(place)
    made = ask("lora/foxes.safetensors")
    work(store, imports=folder)
    assert version_of(store, made).facts["from"] == "foxes.safetensors"
    with pytest.raises(Unprocessable, match="start it with --imports FOLDER"):
        imports.ask(store, ADMIN, federation_id, Wanted("adapter", "x", "folder", "y"), Allowed(None, hub=False))


def test_the_hub_is_asked_only_where_the_server_is_set_so_and_its_silence_is_one_line(
    store: Store, federation_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    participant = person(store, "participant", federation_id, "participant")
    wanted = Wanted("model", "sd", "hub", "nobody/nothing")
    with pytest.raises(Forbidden, match="takes nothing from the model hub"):
        imports.ask(store, coordinator, federation_id, wanted, Allowed(None, hub=False))
    allowed = Allowed(None, hub=True)
    with pytest.raises(Forbidden, match="only a coordinator"):
        imports.ask(store, participant, federation_id, wanted, allowed)
    for place in ("http://127.0.0.1/x", "../x", "a/b/c", "a/..", "nobody", "a/b?x=1", "/etc/passwd"):
        with pytest.raises(Unprocessable, match="is no name on the hub"):
            imports.ask(store, coordinator, federation_id, Wanted("model", "sd", "hub", place), allowed)
    for kind in ("model", "adapter"):
        made = imports.ask(store, coordinator, federation_id, Wanted(kind, "sd", "hub", "nobody/nothing"), allowed)  # type: ignore[arg-type]
        work(store)
        row = imports.one(store, coordinator, made)
        assert row.phase == "failed"
        assert row.message.startswith("nobody/nothing: not in the hub cache, and the hub cannot be reached (")
        assert "\n" not in row.message


def test_a_failed_import_is_its_askers_and_can_be_tried_again(store: Store, federation_id: str) -> None:
    owner = person(store, "owner", federation_id, "participant")
    other = person(store, "other", federation_id, "participant")
    viewer = person(store, "viewer", federation_id, "viewer")
    made = brought(store, federation_id, LORA, b"nothing of the kind", owner)
    assert [row.id for row in imports.listed(store, owner, federation_id)] == [made]
    assert imports.listed(store, other, federation_id) == []
    for stranger in (other, viewer):
        with pytest.raises(NotFound):
            imports.one(store, stranger, made)
    imports.try_again(store, owner, made)
    assert imports.one(store, owner, made).phase == "waiting"
    work(store)
    assert imports.one(store, owner, made).phase == "failed"


def test_another_version_of_a_model_is_its_owners_or_a_coordinators(
    store: Store, federation_id: str, tiny_model_folder: Path
) -> None:
    owner = person(store, "owner", federation_id, "participant")
    other = person(store, "other", federation_id, "participant")
    content = kohya_file(tiny_model_folder)
    for number in (1, 2):
        assert version_of(store, brought(store, federation_id, LORA, content, owner)).number == number
    with pytest.raises(Forbidden, match="for the owner of 'foxes'"):
        brought(store, federation_id, LORA, content, other)


def test_a_run_begins_with_a_model_that_was_brought_in(
    store: Store, federation_id: str, model: Version, callers: dict[str, Caller], tiny_model_folder: Path
) -> None:
    plan = Plan.model_validate({"name": "on tiny", "model": "registry:tiny", "data": {"clients": tuple(callers)}})
    with pytest.raises(Unprocessable, match="the federation has no model 'giant'"):
        runs.create(store, federation_id, plan.model_copy(update={"model": "registry:giant"}))
    run_id = runs.create(store, federation_id, plan)
    assert runs.plan(store, run_id).model == "registry:tiny/1"
    with pytest.raises(Conflict, match="run 'on tiny' goes on with version 1 of 'tiny'"):
        catalogue.delete_version(store, SERVER, model.id)
    prepare(store)
    [row] = registry.artifacts(store, SERVER, registry.MODEL, "", 10)
    assert row.name == "tiny", "the run made no second one"
    assert runs.base_hash(store, run_id) == model.content_hash == open_model(str(tiny_model_folder)).content_hash
    assert open_model(place_of(store, run_id)).content_hash == model.content_hash
    runs.stop(store, run_id)
    catalogue.delete_version(store, SERVER, model.id)


def prepare(store: Store) -> None:
    for job_id in jobs.waiting(store, ("prepare",)):
        carry_out(store, ServerSettings(folder=store.folder), ROUNDS, job_id, "worker")


def test_by_the_api_an_upload_of_two_pieces_becomes_an_adapter(
    coordinator: Api, store: Store, federation_id: str, tiny_model_folder: Path
) -> None:
    content = kohya_file(tiny_model_folder)
    tus = {"Tus-Resumable": "1.0.0"}
    made = coordinator("POST", "/api/v1/uploads", headers={**tus, "Upload-Length": str(len(content))})
    address = made.headers["Location"]
    for at in (0, 1000):
        piece = content[at : 1000 if at == 0 else None]
        headers = {**tus, "Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
        assert coordinator("PATCH", address, data=piece, headers=headers).status_code == 204
    assert coordinator("HEAD", address, headers=tus).headers["Upload-Offset"] == str(len(content))
    body = {
        "kind": "adapter",
        "name": "foxes",
        "source": "upload",
        "place": "foxes.safetensors",
        "upload_id": address.rpartition("/")[2],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    asked = coordinator("POST", f"/api/v1/federations/{federation_id}/imports", json=body)
    assert (asked.status_code, asked.json["phase"]) == (201, "waiting")
    work(store)
    told = coordinator("GET", f"/api/v1/imports/{asked.json['id']}").json
    assert (told["phase"], told["message"]) == ("done", "")
    [line] = coordinator("GET", f"/api/v1/federations/{federation_id}/imports").json["items"]
    assert line["id"] == asked.json["id"]
    layouts = coordinator("GET", f"/api/v1/versions/{told['version']}/downloads").json["items"]
    assert {each["layout"]: each["state"] for each in layouts} == {
        "diffusers": "ready", "kohya": "ready", "merged": "impossible", "checkpoint": "impossible"
    }  # fmt: skip
    sent = coordinator("GET", f"/api/v1/versions/{told['version']}/files/kohya")
    assert sent.headers["Content-Disposition"] == "attachment; filename=foxes-v1.kohya.safetensors"
    assert coordinator("POST", f"/api/v1/imports/{asked.json['id']}/retry").status_code == 409


def test_a_viewer_uploads_nothing(store: Store, federation_id: str) -> None:
    with pytest.raises(Forbidden, match="for a participant"):
        imports.check_may_upload(store, person(store, "viewer", federation_id, "viewer"))
    imports.check_may_upload(store, person(store, "participant", federation_id, "participant"))


def test_a_closed_accounts_upload_is_cut(store: Store, federation_id: str) -> None:
    owner = person(store, "owner", federation_id, "participant")
    with store.begin() as session:
        session.get_one(Person, owner.id).disabled_at = 1.0
    with pytest.raises(Exception, match="the account of this token was closed"):
        upload(store, owner, b"some bytes")
    with store.read() as session:
        assert session.query(Import).all() == []


def test_an_import_whose_worker_died_before_it_could_say_so_is_told_as_failed(store: Store, federation_id: str) -> None:
    wanted = Wanted("adapter", "foxes", "hub", "nobody/nothing")
    made = imports.ask(store, ADMIN, federation_id, wanted, Allowed(None, hub=True))
    [job_id] = jobs.waiting(store, ("import",))
    imports.fail_left_behind(store)
    assert imports.one(store, ADMIN, made).phase != "failed", "nobody has given it up"
    assert jobs.claim(store, job_id, "w") is not None
    assert jobs.fail(store, job_id, "w", "the disk is full", give_up=True)  # and here it dies
    imports.fail_left_behind(store)
    row = imports.one(store, ADMIN, made)
    assert (row.phase, row.message) == ("failed", "the disk is full")
