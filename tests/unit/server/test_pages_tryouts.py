"""Trying a release out, as a browser shows it: the form, what waits and why, the pictures, one's own list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import Reader, faults, told, value_of
from tests.unit.server.tryout_setting import tiny_release, work

from fedflow.server.services import processes, releases
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

WISH = {"prompt": "a red fox", "pictures": "2", "steps": "2", "seed": "7"}


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data", tryouts_waiting=2)


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


@pytest.fixture
def release_id(site: Site, tiny_model_folder: Path) -> str:
    return tiny_release(site.store, site.federation_id, tiny_model_folder)


@pytest.fixture
def vera(site: Site, release_id: str) -> Reader:
    assert release_id
    site.account("vera", "viewer")
    return site.reader("vera")


def ask(reader: Reader, release_id: str, **wish: str) -> str:
    """The address of the try-out that was asked for."""
    answer = reader.post(f"/releases/{release_id}/try", {**WISH, **wish})
    assert answer.status_code == 303, told(answer)
    page = reader.get(answer.headers["Location"])
    found = re.search(r'href="(/tryouts/[0-9a-f-]+)"', page.text)
    assert found is not None
    return found[1]


def test_what_is_wrong_is_told_beside_its_field_and_nothing_is_lost(vera: Reader, release_id: str) -> None:
    path = f"/releases/{release_id}/try"
    wrong = vera.post(path, {**WISH, "prompt": "", "pictures": "99", "steps": "x"})
    assert wrong.status_code == 422
    assert faults(wrong).keys() == {"prompt", "pictures", "steps"}
    assert value_of(wrong, "seed") == "7"
    assert "Nothing drawn yet" in told(vera.get("/account/pictures"))


def test_it_waits_is_drawn_and_is_the_readers_alone(vera: Reader, site: Site, release_id: str) -> None:
    one = ask(vera, release_id)
    assert "No evaluator is running to draw it." in told(vera.get(one))
    processes.seen(site.store, "a-1", "evaluation", "1")
    assert "It is next." in told(vera.get(one))
    work(site.store)
    page = vera.get(one)
    assert "Drawn" in told(page)
    assert "hx-get" not in page.text.partition('class="tryout"')[2].partition(">")[0], "it asks no more"
    pictures = re.findall(r'src="(/tryouts/[^"]+)"', page.text)
    assert len(pictures) == 2
    picture = vera.get(pictures[0], buffered=True)
    assert (picture.mimetype, picture.data[:4]) == ("image/png", b"\x89PNG")
    assert "private" in picture.headers["Cache-Control"]
    site.account("paul", "viewer")
    paul = site.reader("paul")
    assert (paul.get(one).status_code, paul.get(pictures[0]).status_code) == (404, 404)
    assert "Nothing drawn yet" in told(paul.get("/account/pictures"))


def test_ones_own_of_all_releases_are_in_the_account(vera: Reader, site: Site, release_id: str) -> None:
    first, second = ask(vera, release_id, prompt="one"), ask(vera, release_id, prompt="two")
    own = vera.get("/account/pictures")
    assert re.findall(r'href="(/tryouts/[0-9a-f-]+)"', own.text) == [second, first], "newest first"
    assert "foxes v1" in told(own)
    full = told(vera.get(f"/releases/{release_id}/try"))
    assert "You already have the most try-outs that one person may have waiting or being drawn." in full
    cancelled = vera.post(f"{second}/cancel?own=")
    assert cancelled.headers["Location"] == "/account/pictures"
    assert "Cancelled" in told(vera.get(second))
    assert vera.post(f"{second}/delete?own=").status_code == 303
    assert vera.get(second).status_code == 404
    assert re.findall(r'href="(/tryouts/[0-9a-f-]+)"', vera.get("/account/pictures").text) == [first]


def test_a_long_list_is_turned(vera: Reader, site: Site, release_id: str, clock: Clock) -> None:
    for number in range(13):
        one = ask(vera, release_id, prompt=f"number {number}")
        vera.post(f"{one}/cancel")
        clock.now += 60
    own = vera.get("/account/pictures")
    assert len(re.findall(r'class="tryout"', own.text)) == 12
    older = re.search(r'href="(/account/pictures\?before=[^"]+)"', own.text)
    assert older is not None
    rest = told(vera.get(older[1]))
    assert "number 0" in rest
    assert "Newest" in rest


def test_with_a_withdrawn_release_nothing_more_is_drawn(vera: Reader, site: Site, release_id: str) -> None:
    one = ask(vera, release_id)
    releases.withdraw(site.store, SERVER, release_id, "blurred")
    page = told(vera.get(f"/releases/{release_id}/try"))
    assert "was withdrawn" in page
    assert "Draw pictures" not in page
    assert vera.post(f"/releases/{release_id}/try", WISH).status_code == 422
    assert vera.get(one).status_code == 200
