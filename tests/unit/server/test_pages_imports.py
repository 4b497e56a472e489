"""The page that brings models and adapters in: a file comes in pieces, as its script sends them."""

from __future__ import annotations

import pytest
from flask import Flask
from tests.unit.server.page_setting import Site

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
