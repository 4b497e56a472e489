"""Files that a page sends in pieces: the same file goes on where it stopped, what lies too long is cleared."""

from __future__ import annotations

import errno
import os
import shutil
from base64 import b64encode
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import demo_pictures, work
from tests.unit.client_app.test_datasets_uploads import contents, zip_of
from tests.unit.client_app.test_shelving_uploads import SCRIPT, incoming

from fedflow.client.app import create_app
from fedflow.client.services import arrivals, datasets, jobs, leftovers, library
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.models import adapter_bytes, new_adapter, open_model

Usage = namedtuple("Usage", "total used free")
PIECE = 40_000
ZIP = b"PK\x03\x04"


def begin(visitor: Visitor, name: str, content: bytes, what: str, changed: str = "1", **headers: str):  # type: ignore[no-untyped-def]
    told = {"what": what, "filename": name, "changed": changed}
    metadata = ",".join(f"{key} {b64encode(text.encode()).decode()}" for key, text in told.items())
    sent = {"Upload-Length": str(len(content)), "Upload-Metadata": metadata, "X-CSRFToken": visitor.token(), **headers}
    return visitor.client.post("/arriving", data=content[: arrivals.BEGINNING_BYTES], headers=sent)


def go_on(visitor: Visitor, place: str, at: int, piece: bytes):  # type: ignore[no-untyped-def]
    return visitor.client.patch(place, data=piece, headers={"Upload-Offset": str(at), "X-CSRFToken": visitor.token()})


def sent(visitor: Visitor, name: str, content: bytes, what: str) -> str:
    """All of it; gives the identifier."""
    answer = begin(visitor, name, content, what)
    at = int(answer.headers["Upload-Offset"])
    while at < len(content):
        at = int(go_on(visitor, answer.location, at, content[at : at + PIECE]).headers["Upload-Offset"])
    return str(answer.location).rsplit("/", 1)[-1]


def test_a_model_that_was_cut_goes_on_after_a_new_start(
    store: Store, visitor: Visitor, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = new_adapter(open_model(str(tiny_model_folder)), 32, 2.0, False, torch.Generator().manual_seed(1))
    content = adapter_bytes(adapter, "kohya", {})
    answer = begin(visitor, "things/foxes.safetensors", content, "model")
    assert answer.status_code == 201
    first = int(answer.headers["Upload-Offset"])
    assert first == arrivals.BEGINNING_BYTES < len(content) - 1000
    later = first + 1000
    assert go_on(visitor, answer.location, first, content[first:later]).status_code == 204
    path = incoming(store)[0]
    path.write_bytes(path.read_bytes() + b"of a request that died")
    anew = open_store(store.folder)
    again = Visitor(create_app(anew, ClientSettings(folder=store.folder)).test_client())
    assert "has not been taken in yet" in again.client.get("/models/import").text
    answer = begin(again, "foxes.safetensors", content, "model")
    assert int(answer.headers["Upload-Offset"]) == later
    other = go_on(again, answer.location, first, content[first:])
    assert (other.status_code, other.headers["Upload-Offset"]) == (409, str(later)), "another page is further"
    arrived = sent(again, "foxes.safetensors", content, "model")
    form = {"csrf_token": again.token(), "kind": "model", "base": str(tiny_model_folder), "name": "", "place": ""}
    wrong = again.client.post("/models/import", data={**form, "arrived": arrived}, headers=SCRIPT)
    assert "The file is an adapter" in str(wrong.json)
    assert path.read_bytes() == content, "what is wrong is a field: the file need not come again"

    def fails(*_places: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fails)
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfile", fails)
        adapters = {**form, "kind": "adapter", "arrived": arrived}
        assert "cannot be written" in str(again.client.post("/models/import", data=adapters, headers=SCRIPT).json)
    assert path.read_bytes() == content, "nor where the disk does not take it"
    taken = again.client.post("/models/import", data={**form, "kind": "adapter", "arrived": arrived}, headers=SCRIPT)
    assert taken.json == {"place": "/models"}
    assert [each.suffix for each in incoming(store)] == [".safetensors"]
    assert work(store) == [(jobs.DONE, "")]
    [row] = library.listed(store, library.ADAPTER)
    assert (row.name, row.origin["from"], incoming(store)) == ("foxes", "foxes.safetensors", [])
    gone = again.client.post("/models/import", data={**form, "arrived": arrived}, headers=SCRIPT)
    assert "The file is no longer kept" in str(gone.json)
    anew.engine.dispose()


def test_another_file_of_that_name_begins_anew(store: Store, visitor: Visitor) -> None:
    content = ZIP + bytes(100_000)
    first = begin(visitor, "big.zip", content, "model")
    others = [
        begin(visitor, "big.zip", content[:-50_000] + bytes([1]) * 50_000, "model"),
        begin(visitor, "big.zip", content, "model", changed="2"),
        begin(visitor, "big.zip", content + b"x", "model"),
        begin(visitor, "big.zip", content, "pictures"),
    ]
    assert len({first.location, *(each.location for each in others)}) == 5


def test_a_zip_of_pictures_comes_in_pieces_and_a_bomb_is_refused(
    store: Store, visitor: Visitor, tmp_path: Path
) -> None:
    pictures = zip_of(contents(demo_pictures(tmp_path / "icons", 3)))
    form = {"csrf_token": visitor.token(), "name": ""}
    arrived = sent(visitor, "Icons.zip", pictures, "pictures")
    assert "place" in visitor.client.post("/datasets/upload", data={**form, "arrived": arrived}, headers=SCRIPT).json
    assert work(store) == [(jobs.DONE, "")]
    [line] = datasets.listed(store)
    assert (line.dataset.name, line.pictures) == ("Icons", 3)
    bomb = zip_of([("a.png", bytes(200_000_000))])
    arrived = sent(visitor, "Bomb.zip", bomb, "pictures")
    visitor.client.post("/datasets/upload", data={**form, "arrived": arrived}, headers=SCRIPT)
    [status] = [status for status, why in work(store) if "which pictures do" in why]
    assert (status, incoming(store), len(datasets.listed(store))) == (jobs.REFUSED, [], 1)


def test_what_has_not_arrived_whole_is_not_taken_in(store: Store, visitor: Visitor) -> None:
    answer = begin(visitor, "big.zip", ZIP + bytes(100_000), "pictures")
    form = {"csrf_token": visitor.token(), "arrived": answer.location.rsplit("/", 1)[-1]}
    said = visitor.client.post("/datasets/upload", data=form, headers=SCRIPT)
    assert "The file has not arrived whole. Choose it again" in str(said.json)
    assert "no longer kept" in str(visitor.client.post("/models/import", data=form, headers=SCRIPT).json)
    outside = {**form, "arrived": "../client.db"}
    assert "no longer kept" in str(visitor.client.post("/datasets/upload", data=outside, headers=SCRIPT).json)
    assert jobs.under_way(store) == []


@pytest.mark.parametrize(
    ("name", "what", "length", "said"),
    [
        ("sd.ckpt", "model", 10, "is a pickle"),
        ("notes.txt", "model", 10, "neither a .safetensors file nor a zip"),
        ("big.zip", "model", 10_000_000_001, "at most 10,000 MB are taken through the browser. Put it on this machine"),
        ("big.zip", "pictures", 1_000_000_001, "at most 1,000 MB"),
        ("big.zip", "else", 10, "Load it anew"),
        ("big.zip", "model", 11, "The file changed while it was sent"),
        ("big.zip", "model", 10, "“big.zip” is no zip, or is damaged. Pack it anew"),
        ("big.zip", "pictures", 10, "“big.zip” is no zip, or is damaged. Pack it anew"),
        ("sd.safetensors", "model", 10, "“sd.safetensors” is not a safetensors file, or is damaged"),
    ],
)
def test_what_would_not_be_taken_is_refused_before_it_is_sent(
    store: Store, visitor: Visitor, name: str, what: str, length: int, said: str
) -> None:
    answer = begin(visitor, name, bytes(10), what, **{"Upload-Length": str(length)})
    assert (answer.status_code, incoming(store)) == (422, [])
    assert said in answer.json["told"]


def test_a_full_disk_is_told_and_what_arrived_stays(
    store: Store, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ZIP + bytes(300_000)
    answer = begin(visitor, "big.zip", content, "model")
    real = shutil.disk_usage(store.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(real.total, real.total, 50_000_000))
    full = begin(visitor, "big.zip", content, "model")
    assert full.status_code == 507
    assert full.json["told"] == (
        "The disk of the app's folder is full: about 51 MB more are needed. What has arrived is kept; free space, then "
        "go on."
    )
    monkeypatch.undo()

    def full_by_now(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_by_now)
    at = arrivals.BEGINNING_BYTES
    full = go_on(visitor, answer.location, at, content[at : at + PIECE])
    assert full.status_code == 507
    assert "(No space left on device). What has arrived is kept" in full.json["told"]
    monkeypatch.undo()
    assert begin(visitor, "big.zip", content, "model").headers["Upload-Offset"] == answer.headers["Upload-Offset"]


def test_what_nobody_goes_on_with_is_cleared_and_said(store: Store, visitor: Visitor) -> None:
    content = ZIP + bytes(100_000)
    answer = begin(visitor, "big.zip", content, "model")
    at = int(answer.headers["Upload-Offset"])
    leftovers.sweep(replace(store, clock=lambda: store.clock() + arrivals.KEPT_S - 60))
    assert len(incoming(store)) == 1, "for a week it is gone on with"
    leftovers.sweep(replace(store, clock=lambda: store.clock() + arrivals.KEPT_S + 60))
    assert incoming(store) == []
    assert "nobody went on sending it for a week" in visitor.client.get("/models/import").text
    assert go_on(visitor, answer.location, at, content[at:]).status_code == 404
    assert int(begin(visitor, "big.zip", content, "model").headers["Upload-Offset"]) == at, "it begins anew"
    visitor.post(f"{answer.location}/drop", next="/models/import")
    assert incoming(store) == []
    assert "big.zip" not in visitor.client.get("/models/import").text


def test_only_our_own_pages_send(store: Store, visitor: Visitor) -> None:
    assert begin(visitor, "big.zip", bytes(10), "model", **{"X-CSRFToken": "none"}).status_code == 403
    assert begin(visitor, "big.zip", bytes(10), "model", Origin="https://elsewhere.example").status_code == 403
    assert begin(visitor, "big.zip", bytes(10), "model", **{"Upload-Metadata": "what !"}).status_code == 400
    place = begin(visitor, "big.zip", ZIP + bytes(100_000), "model").location
    assert go_on(visitor, place, arrivals.BEGINNING_BYTES, bytes(arrivals.PIECE_BYTES + 1)).status_code == 413
    assert go_on(visitor, place, arrivals.BEGINNING_BYTES, bytes(100_000)).status_code == 409, "more than it has"
