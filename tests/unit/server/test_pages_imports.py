"""The page that brings models and adapters in: a file comes in pieces, as its script sends them."""

from __future__ import annotations

import pytest
from flask import Flask
from tests.unit.server.page_setting import Site

from fedflow.server.database.tables import Import
from fedflow.server.store import Store

CONTENT = bytes(range(256)) * 1000
"""With every byte in it, and larger than any form may be."""


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    made = Site.of(app, store)
    made.account("boss")
    made.account("paul", "participant")
    return made


def test_a_file_larger_than_a_form_comes_in_pieces(site: Site) -> None:
    reader = site.reader("paul")
    files = f"/federations/{site.federation_id}/imports/files"
    began = reader.post(files, {"length": len(CONTENT)})
    assert began.status_code == 200, began.text
    address = f"{files}/{began.json['upload']}"
    guard = {"X-CSRFToken": reader.guard()}
    for begin, end in ((0, 150_000), (150_000, len(CONTENT))):
        sent = reader.client.post(f"{address}?offset={begin}", data=CONTENT[begin:end], headers=guard)
        assert (sent.status_code, sent.json["offset"]) == (200, end), sent.text
    assert reader.get(address).json["offset"] == len(CONTENT)


def test_a_form_that_large_is_still_refused(site: Site) -> None:
    reader = site.reader("paul")
    form = {"name": "x" * 70_000, "source": "upload"}
    assert reader.post(f"/federations/{site.federation_id}/imports/new", form).status_code == 413


def test_a_form_with_nothing_filled_in_tells_every_fault(site: Site) -> None:
    sent = site.reader("paul").post(f"/federations/{site.federation_id}/imports/new", {"source": "upload"})
    assert sent.status_code == 422
    assert "Choose a file." in sent.text
    assert "Write 1 to 80 characters on one line." in sent.text


def test_the_same_damaged_bytes_are_not_tried_again(site: Site, store: Store) -> None:
    with store.begin() as session:
        for number, (source, message) in enumerate(
            (
                ("upload", "foxes.safetensors: is not a safetensors file, or is cut off; copy or export it again"),
                ("upload", "foxes.safetensors: disk full (9 MB); free space and run the same command again"),
                ("folder", "foxes.safetensors: is not a safetensors file, or is cut off; copy or export it again"),
            )
        ):
            row = Import(
                id=f"import-{number}", federation_id=site.federation_id, kind="adapter", name=f"Foxes {number}"
            )
            row.source, row.place, row.phase, row.message = source, "foxes.safetensors", "failed", message
            row.created_at = 1.8e9
            session.add(row)
    site.account("cora", "coordinator")
    page = site.reader("cora").get(f"/federations/{site.federation_id}/imports").text
    assert page.count("Import another file") == 1
    assert "imports/import-0/again" not in page
    assert "imports/import-1/again" in page, "the disk may have space by then"
    assert "imports/import-2/again" in page, "another file may lie there by then"
