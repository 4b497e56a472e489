"""The library: what comes in, what is joined, what is handed out, and what is refused."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
import torch
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.test_trainings import work

from fedflow.client.database.tables import Consent, Membership
from fedflow.client.services import jobs, library, shelving
from fedflow.client.services.shelving import ImportRequest, MergeRequest
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.models import adapter_bytes, new_adapter, open_model, read_adapter
from fedflow.models.adapter_files import LAYOUTS
from fedflow.tensors import to_bytes


@pytest.fixture
def kohya(tmp_path: Path, tiny_model_folder: Path) -> Path:
    adapter = new_adapter(open_model(str(tiny_model_folder)), 2, 2.0, False, torch.Generator().manual_seed(1))
    file = tmp_path / "foxes.safetensors"
    file.write_bytes(adapter_bytes(adapter, "kohya", {"modelspec.trigger_phrase": "vulpes"}))
    return file


def brought(store: Store, place: Path, kind: str, base: Path | None = None, name: str = "") -> str:
    request = ImportRequest.model_validate(
        {"kind": kind, "place": str(place), "name": name, "base": "starter" if base is None else str(base)}
    )
    return shelving.take_in(store, request)


def test_an_adapter_comes_in_and_goes_out_in_both_layouts(
    visitor: Visitor, store: Store, kohya: Path, tiny_model_folder: Path
) -> None:
    job_id = brought(store, kohya, "adapter", tiny_model_folder)
    assert work(store, job_id) == jobs.DONE
    row = library.one(store, job_id)
    assert row is not None
    assert (row.name, row.trigger, row.base_hash) == (
        "foxes",
        "vulpes",
        open_model(str(tiny_model_folder)).content_hash,
    )
    assert row.size_bytes == library.adapter_file(store, job_id).stat().st_size, "what is taken along"
    for layout in library.ADAPTER_FILES:
        with visitor.client.get(f"/models/{job_id}/{layout}.safetensors") as answer:
            (kohya.parent / "back.safetensors").write_bytes(answer.data)
        _, found = read_adapter(kohya.parent / "back.safetensors")
        assert found == layout
    assert visitor.client.get(f"/models/{job_id}/checkpoint.safetensors").status_code == 404


def test_an_adapter_of_another_model_is_refused(store: Store, kohya: Path) -> None:
    assert "failed: " in work(store, brought(store, kohya, "adapter"))
    assert library.listed(store) == []


def test_an_adapter_chosen_as_a_model_says_that_it_is_one(visitor: Visitor, store: Store, kohya: Path) -> None:
    refused = visitor.post("/models/import", kind="model", place=str(kohya), name="", base="starter")
    assert refused.status_code == 422
    assert re.search(r'id="f-kind-error">.*The file is an adapter \(LoRA\)', refused.text)
    adapter, _ = read_adapter(kohya)
    for layout in library.ADAPTER_FILES:
        kohya.write_bytes(adapter_bytes(adapter, layout, {}))  # type: ignore[arg-type]
        with pytest.raises(MistakeError, match="kind: the file is an adapter"):
            brought(store, kohya, "model")
    assert jobs.waiting(store) == []


def test_a_model_chosen_as_an_adapter_says_that_it_is_one(
    visitor: Visitor, store: Store, tiny_model_folder: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "whole.safetensors"
    checkpoint.write_bytes(to_bytes({"model.diffusion_model.out.2.bias": torch.zeros(4)}, {}))
    for place in (checkpoint, tiny_model_folder):
        refused = visitor.post("/models/import", kind="adapter", place=str(place), name="", base="starter")
        assert re.search(r'id="f-kind-error">.*It is a whole model\. Choose that\.', refused.text)
    assert jobs.waiting(store) == []


def test_a_failed_import_is_told_on_models_and_not_on_generate(visitor: Visitor, store: Store, kohya: Path) -> None:
    job_id = brought(store, kohya, "adapter")
    assert "failed: " in work(store, job_id)
    assert f'id="failed-{job_id}"' in visitor.client.get("/models").text
    assert f'id="failed-{job_id}"' not in visitor.client.get("/").text


def test_an_adapter_of_a_federation_tells_its_run_and_takes_a_trigger(
    visitor: Visitor, store: Store, kohya: Path
) -> None:
    adapter, _ = read_adapter(kohya)
    asset_id = f"{jobs.new_id()}-{jobs.new_id()}"
    diffusers, own = (adapter_bytes(adapter, layout, {}) for layout in LAYOUTS)
    library.write_adapter(store, asset_id, diffusers=diffusers, kohya=own)
    origin = {
        "how": "federated", "run": "three", "run_id": "r1", "membership": "m1", "federation": "Icons", "rounds": 7,
        "members": ["a", "b", "c"], "method": "fedex-lora",
    }  # fmt: skip
    library.keep(store, asset_id, library.New("adapter", "three", "starter", "f" * 64, origin=origin))
    page = visitor.client.get(f"/models/{asset_id}").text
    facts = dict(re.findall(r"<dt>([^<]+)</dt>\s*<dd[^>]*>\s*([^<]*?)\s*</dd>", page))
    told = {
        "Rank": "2",
        "Federation": "Icons",
        "Run": "three",
        "Rounds": "7",
        "Members": "3",
        "Joined by": "fedex-lora",
    }
    assert told.items() <= facts.items()
    assert "/runs/r1" not in page, "one that has left sees its run no more"
    member = Membership(
        id="m1", server="https://x", federation="Icons", member="a", policy={}, always=False, is_paused=False, said="",
        joined_at=1.0,
    )  # fmt: skip
    consent = Consent(membership_id="m1", run_id="r1", facts={}, pictures=1, answer="agreed", rounds=[], asked_at=1.0)
    with store.begin() as session:
        session.add(member)
        session.flush()
        session.add(consent)
    assert 'href="/federations/m1/runs/r1"' in visitor.client.get(f"/models/{asset_id}").text
    assert visitor.post(f"/models/{asset_id}/trigger", trigger="  red   fox ").status_code == 303
    assert library.one(store, asset_id).trigger == "red fox"  # type: ignore[union-attr]
    assert "red fox" in visitor.client.get(f"/?adapter={asset_id}").text
    visitor.post(f"/models/{asset_id}/trigger", trigger="x" * 201)
    assert "A trigger has up to 200 characters." in visitor.client.get(f"/models/{asset_id}").text


def test_a_model_comes_in_and_goes_out_whole_and_as_one_file(
    visitor: Visitor, store: Store, tiny_model_folder: Path, tmp_path: Path
) -> None:
    job_id = brought(store, tiny_model_folder, "model", name="tiny")
    assert work(store, job_id) == jobs.DONE
    with zipfile.ZipFile(io.BytesIO(visitor.client.get(f"/models/{job_id}/diffusers.zip").data)) as archive:
        archive.extractall(tmp_path / "unpacked")
    expected = open_model(str(tiny_model_folder)).content_hash
    assert open_model(str(tmp_path / "unpacked")).content_hash == expected
    assert visitor.client.get(f"/models/{job_id}/checkpoint.safetensors").status_code == 404, "not written yet"
    assert visitor.post(f"/models/{job_id}/export").status_code == 303
    [writing] = jobs.waiting(store)
    assert work(store, writing) == jobs.DONE
    with visitor.client.get(f"/models/{job_id}/checkpoint.safetensors") as answer:
        (tmp_path / "one.safetensors").write_bytes(answer.data)
    again = brought(store, tmp_path / "one.safetensors", "model", name="again")
    assert work(store, again) == jobs.DONE, "its settings are those of the model of its shapes that is here"
    assert library.one(store, again).base_hash == expected  # type: ignore[union-attr]


def test_what_is_no_model_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    job_id = brought(store, tmp_path / "empty", "model", name="none")
    assert "is no diffusers folder" in work(store, job_id)
    assert not library.folder(store, job_id).exists()


def test_joined_adapters_draw_as_their_weighted_sum(
    visitor: Visitor, store: Store, kohya: Path, tiny_model_folder: Path
) -> None:
    first, second = (brought(store, kohya, "adapter", tiny_model_folder, name) for name in ("one", "two"))
    for job_id in (first, second):
        assert work(store, job_id) == jobs.DONE
    parts = ((first, 0.5), (second, -2.0))
    job_id = shelving.merge(store, MergeRequest(name="both", parts=parts))
    assert work(store, job_id) == jobs.DONE
    whole, _ = read_adapter(library.adapter_file(store, job_id))
    single, _ = read_adapter(kohya)
    for key, factors in whole.items():
        assert torch.allclose(factors.delta(), (0.5 - 2.0) * single[key].delta(), atol=1e-6)
    with pytest.raises(MistakeError, match="part: choose 2 to 16 adapters"):
        shelving.merge(store, MergeRequest(name="one", parts=((first, 1.0),)))
    with pytest.raises(MistakeError, match=f"weight-{first}: it must lie between"):
        shelving.merge(store, MergeRequest(name="x", parts=((first, 9.0), (second, 1.0))))
    weights = {f"weight-{first}": "nine", f"weight-{second}": "1"}
    refused = visitor.post("/models/merge", name=" ", part=first, **weights)
    assert refused.status_code == 422
    for place, beside, label, said in (
        (f"part-{library.listed(store)[0].id}", "part", "Adapters", "Choose 2 to 16 adapters."),
        (f"weight-{first}", f"weight-{first}", "Weight of one", "Must lie between -4 and 4."),
        ("f-name", "f-name", "Name", "Fill this in."),
    ):
        assert f'<a href="#{place}">{label}: {said}</a>' in refused.text
        assert re.search(rf'id="{beside}-error">.*?<span>{re.escape(said)}</span>', refused.text, re.DOTALL)


def test_names_are_one_of_a_kind_and_what_is_deleted_is_gone(
    visitor: Visitor, store: Store, kohya: Path, tiny_model_folder: Path
) -> None:
    ids = [brought(store, kohya, "adapter", tiny_model_folder) for _ in range(2)]
    for job_id in ids:
        assert work(store, job_id) == jobs.DONE
    assert {row.name for row in library.listed(store)} == {"foxes", "foxes 2"}
    with pytest.raises(MistakeError, match="'foxes' is taken"):
        library.rename(store, ids[1], "foxes")
    library.rename(store, ids[1], "  Red   foxes ")
    assert library.one(store, ids[1]).name == "Red foxes"  # type: ignore[union-attr]
    assert visitor.post(f"/models/{ids[0]}/delete").status_code == 303
    assert not library.folder(store, ids[0]).exists()
    assert visitor.client.get(f"/models/{ids[0]}").status_code == 404


def test_the_pages_of_an_empty_library_and_of_a_wrong_path(visitor: Visitor, store: Store, tmp_path: Path) -> None:
    assert "No adapters yet" in visitor.client.get("/models").text
    refused = visitor.post("/models/import", kind="adapter", place="/no/such/file", name="", base="starter")
    assert refused.status_code == 422
    assert "is not there" in refused.text
    (tmp_path / "sd.ckpt").write_bytes(b"PK")
    for kind in ("adapter", "model"):
        refused = visitor.post("/models/import", kind=kind, place=str(tmp_path / "sd.ckpt"), name="", base="starter")
        assert re.search(r'id="f-place-error">.*is a pickle, which can run code', refused.text)
    assert jobs.waiting(store) == []
