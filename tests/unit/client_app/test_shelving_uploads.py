"""Models and adapters brought through the browser: taken in, or refused in one line with nothing left of them."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import work

from fedflow.client.services import jobs, leftovers, library
from fedflow.client.store import Store
from fedflow.models import adapter_bytes, new_adapter, open_model

SCRIPT = {"Accept": "application/json"}


class Runs:
    """A pickle of this writes a file when it is opened."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (os.mkdir, (str(self.place),))


def kohya(model: Path) -> bytes:
    adapter = new_adapter(open_model(str(model)), 2, 2.0, False, torch.Generator().manual_seed(1))
    return adapter_bytes(adapter, "kohya", {"modelspec.trigger_phrase": "vulpes"})


def zipped(folder: Path, under: str = "") -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{under}{path.relative_to(folder)}")
    return place.getvalue()


def bring(visitor: Visitor, file: str, content: bytes, kind: str, base: Path | str = "starter", **more):  # type: ignore[no-untyped-def]
    form = {"csrf_token": visitor.token(), "kind": kind, "base": str(base), "name": "", "place": "", **more}
    return visitor.client.post("/models/import", data={**form, "files": (io.BytesIO(content), file)}, headers=SCRIPT)


def incoming(store: Store) -> list[Path]:
    folder = store.folder / "incoming"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_a_kohya_lora_comes_in_and_its_file_goes(store: Store, visitor: Visitor, tiny_model_folder: Path) -> None:
    answer = bring(visitor, "things/foxes.safetensors", kohya(tiny_model_folder), "adapter", tiny_model_folder)
    assert answer.json == {"place": "/models"}
    assert [path.suffix for path in incoming(store)] == [".safetensors"], "what arrived is kept once"
    leftovers.sweep(store)
    assert work(store) == [(jobs.DONE, "")]
    [row] = library.listed(store, library.ADAPTER)
    assert (row.name, row.trigger, row.origin["from"]) == ("foxes", "vulpes", "foxes.safetensors")
    assert incoming(store) == []


@pytest.mark.parametrize("under", ["", "tiny/"])
def test_a_diffusers_folder_comes_in_as_a_zip(
    store: Store, visitor: Visitor, tiny_model_folder: Path, under: str
) -> None:
    answer = bring(visitor, "Tiny.zip", zipped(tiny_model_folder, under), "model", name="Small one")
    assert answer.json == {"place": "/models"}
    assert work(store) == [(jobs.DONE, "")]
    [row] = library.listed(store, library.MODEL)
    assert (row.name, row.base_hash) == ("Small one", open_model(str(tiny_model_folder)).content_hash)
    assert incoming(store) == []


def test_without_a_script_a_file_is_a_plain_form(store: Store, visitor: Visitor, tiny_model_folder: Path) -> None:
    form = {"csrf_token": visitor.token(), "kind": "adapter", "base": str(tiny_model_folder), "name": "Plain"}
    file = (io.BytesIO(kohya(tiny_model_folder)), "foxes.safetensors")
    answer = visitor.client.post("/models/import", data={**form, "place": "", "files": file})
    assert (answer.status_code, answer.location) == (303, "/models")
    refused = visitor.client.post("/models/import", data={**form, "place": "", "files": (io.BytesIO(b"x"), "a.ckpt")})
    assert refused.status_code == 422
    assert 'id="f-files-error"' in refused.text
    assert 'value="Plain"' in refused.text, "what was typed is there still"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("sd.ckpt", b"x", "“sd.ckpt” is a pickle, which can run code"),
        ("sd.PT", b"x", "Use the same model or adapter as a .safetensors file"),
        ("pytorch_lora_weights.bin", b"x", "is a pickle"),
        ("foxes.txt", b"x", "“foxes.txt” is neither a .safetensors file nor a zip."),
        ("foxes.safetensors", b"nonsense", "“foxes.safetensors” is not a safetensors file, or is damaged."),
        ("foxes.safetensors", pickle.dumps({}), "“foxes.safetensors” is not a safetensors file, or is damaged."),
    ],
)
def test_what_is_no_file_of_weights_is_refused_at_once(
    store: Store, visitor: Visitor, name: str, content: bytes, said: str
) -> None:
    answer = bring(visitor, name, content, "adapter")
    assert answer.status_code == 422
    assert answer.json is not None
    assert said in answer.json["told"]
    assert "\n" not in answer.json["told"]
    assert (incoming(store), jobs.waiting(store)) == ([], [])


def test_an_adapter_that_is_given_as_a_model_is_refused_at_once(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    answer = bring(visitor, "foxes.safetensors", kohya(tiny_model_folder), "model")
    assert "The file is an adapter (LoRA)" in str(answer.json)
    assert (incoming(store), jobs.waiting(store)) == ([], [])


def test_one_of_file_and_place_is_given(store: Store, visitor: Visitor) -> None:
    assert "Give either one file" in str(bring(visitor, "a.zip", b"x", "model", place="/a.zip").json)
    assert "Give either one file" in visitor.post("/models/import", kind="model", place=" ", base="starter").text
    assert (incoming(store), jobs.waiting(store)) == ([], [])


def harmful(what: str, model: Path, scratch: Path) -> bytes:
    place = io.BytesIO()
    if what == "a bomb":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("unet/diffusion_pytorch_model.safetensors", bytes(60_000_000))
    elif what == "leads out":
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("../model_index.json", b"{}")
    elif what == "entries that share bytes":
        with zipfile.ZipFile(place, "w") as archive:
            for name in ("a.json", "b.json"):
                archive.writestr(name, b"{}")
                archive.filelist[-1].header_offset = 0
    elif what == "pickles":
        folder = scratch / "pickled"
        shutil.copytree(model, folder)
        for weights in [*folder.rglob("*.safetensors")]:
            weights.with_suffix(".bin").write_bytes(pickle.dumps(Runs(scratch / "ran")))
            weights.unlink()
        return zipped(folder)
    elif what == "no model":
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("notes.txt", b"nothing")
    else:
        return zipped(model)[:-100]
    return place.getvalue()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a bomb", "would unpack to far more than model weights"),
        ("leads out", "holds more than a model&#39;s own files"),
        ("entries that share bytes", "The archive cannot be unpacked."),
        ("pickles", "holds the weights as pickles, which can run code"),
        ("no model", "“evil.zip” is not a model folder in the diffusers layout"),
        ("cut off", "The archive cannot be unpacked."),
    ],
)
def test_a_zip_that_is_none_or_means_harm_is_refused_and_leaves_nothing(
    store: Store, visitor: Visitor, tiny_model_folder: Path, tmp_path: Path, what: str, said: str
) -> None:
    before = {path.name for path in store.folder.iterdir()}
    bring(visitor, "evil.zip", harmful(what, tiny_model_folder, tmp_path), "model")
    [(status, message)] = work(store)
    assert status == jobs.REFUSED
    assert str(store.folder) not in message
    assert said in visitor.client.get("/models").text
    assert '/resume"' not in visitor.client.get("/activity").text
    assert (incoming(store), library.listed(store)) == ([], [])
    assert list((store.folder / "library").glob("*")) == []
    assert {path.name for path in store.folder.iterdir()} - before <= {"incoming", "library", "hub"}
    assert not (tmp_path / "ran").exists()


def test_an_adapter_of_another_base_is_refused_by_its_own_name(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    bring(visitor, "foxes.safetensors", kohya(tiny_model_folder), "adapter", "starter")
    [(status, message)] = work(store)
    assert status == jobs.REFUSED
    assert str(store.folder) not in message
    assert incoming(store) == []


def test_a_checkpoint_whose_settings_the_hub_keeps_waits_for_it(
    store: Store, visitor: Visitor, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    weights = (tiny_model_folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    bring(visitor, "whole.safetensors", weights, "model")
    [(status, _)] = work(store)
    assert status == jobs.FAILED, "it may be tried again once there is a network"
    assert len(incoming(store)) == 1


def test_a_file_stays_as_long_as_its_import_may_go_on(store: Store, visitor: Visitor, tiny_model_folder: Path) -> None:
    bring(visitor, "foxes.safetensors", kohya(tiny_model_folder), "adapter", tiny_model_folder)
    [kept] = incoming(store)
    arriving = kept.with_name(".half.partial")
    arriving.write_bytes(b"so far")
    then = time.time() - 2 * leftovers.DAY_S
    for path in (kept, arriving):
        os.utime(path, (then, then))
    leftovers.sweep(store)
    assert incoming(store) == [kept]
    [job_id] = jobs.waiting(store)
    jobs.want(store, job_id, jobs.STOP)
    jobs.put_aside(store, job_id)
    leftovers.sweep(store)
    assert incoming(store) == []


def test_a_file_that_is_no_longer_kept_is_refused(store: Store, visitor: Visitor, tiny_model_folder: Path) -> None:
    bring(visitor, "foxes.safetensors", kohya(tiny_model_folder), "adapter", tiny_model_folder)
    for path in incoming(store):
        path.unlink()
    assert [status for status, _ in work(store)] == [jobs.REFUSED]
    assert "The file is no longer kept. Bring it once more." in visitor.client.get("/models").text
