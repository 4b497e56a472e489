"""A form that is refused: its page's title says so, and above the form stands what is wrong, with the way there."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import Reader, told
from tests.unit.server.run_setting import Setting
from werkzeug.test import TestResponse

from fedflow.server.services import invitations
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data", open_registration=True)


@pytest.fixture
def site(app: Flask, store: Store, setting: Setting) -> Site:
    assert setting.run
    return Site.of(app, store)


def title(answer: TestResponse) -> str:
    [found] = re.findall(r"<title>(.*?)</title>", answer.text)
    return unescape(found)


def summary(answer: TestResponse) -> list[tuple[str, str]]:
    """What stands above the form: each sentence, and the field that it leads to."""
    [found] = re.findall(r'<section class="notice failed refused-form" id="wrong".*?</section>', answer.text, re.DOTALL)
    lines = re.findall(r"<li>(.*?)</li>", found, re.DOTALL)
    places = [re.search(r'href="#([^"]+)"', line) for line in lines]
    words = [unescape(re.sub(r"<[^>]+>", "", line)) for line in lines]
    return [(said, place[1] if place else "") for said, place in zip(words, places, strict=True)]


def check(answer: TestResponse) -> list[tuple[str, str]]:
    """The page of a refused form is whole; what its summary says."""
    assert answer.status_code == 422
    assert title(answer).startswith("Error: ")
    said = summary(answer)
    assert said
    for _, place in said:
        assert not place or re.search(rf'<(input|select|textarea)[^>]* id="{re.escape(place)}"', answer.text), place
    assert answer.text.index('id="wrong"') > answer.text.index("<h1>")
    [section] = re.findall(r'<section class="notice failed refused-form"[^>]*>', answer.text)
    assert 'tabindex="-1"' in section
    assert "autofocus" in section
    assert len(re.findall(r'role="alert"', answer.text)) == 1, "each fault is heard once"
    return said


def refused(reader: Reader, path: str, fields: dict[str, object]) -> list[tuple[str, str]]:
    return check(reader.post(path, fields))


def test_every_refused_form_says_so_in_its_title_and_above_its_fields(site: Site) -> None:
    site.account("root")
    stranger = site.reader()
    [wrong] = refused(stranger, "/sign-in", {"email": "ada@example.org", "password": "no"})
    assert wrong[0].startswith("Password: The address, the password or the code is wrong")
    assert wrong[1] == "f-password"
    unfilled = refused(stranger, "/register", {"name": "", "email": "a@b.org"})
    assert [place for _, place in unfilled] == ["f-name", "f-password"]
    reader, here = site.reader("root"), f"/federations/{site.federation_id}"
    assert refused(reader, "/federations/new", {"name": " "})[0][1] == "f-name"
    invite = f"/people/{site.federation_id}/invite"
    assert refused(reader, invite, {"role": "king"})[0] == (
        "Role: Choose one from the list.",
        "role-viewer",
    )
    assert refused(reader, f"{here}/codes", {"member": "a/b"})[0][1] == "f-member"
    scopes = refused(reader, "/account/tokens", {"name": "x", "days": "30"})
    assert scopes == [("What it may do: Choose at least one.", "f-scope.read")]
    assert refused(reader, "/account", {"name": " ", "locale": ""})[0][1] == "f-name"
    assert refused(reader, f"{here}/rules", {"runs.most_rounds": "-1"})[0][1] == "f-runs.most_rounds"
    [rounds, members] = sorted(refused(reader, f"{here}/runs/new", {"rounds": "0"}))[::-1]
    assert rounds == ("Rounds: Must be at least 1.", "f-rounds")
    assert members[1] == "member-1"
    assert members[0].startswith("Members: ")


def test_what_no_field_tells_is_told_above_all_the_same(site: Site) -> None:
    site.account("ada", "viewer")
    code = invitations.make(site.store, SERVER, site.federation_id, "viewer", email="bob@example.org")
    [(said, place)] = refused(site.reader("ada"), f"/invitation/{code}", {})
    assert said == "This invitation is for another address. Take the one it was sent to."
    assert place == ""


def test_a_page_without_faults_has_no_summary(site: Site) -> None:
    site.account("root")
    reader = site.reader("root")
    for path in ("/account", "/federations/new", f"/federations/{site.federation_id}/runs/new"):
        answer = reader.get(path)
        assert 'id="wrong"' not in answer.text
        assert "Error: " not in title(answer)
    assert "There is a problem" not in told(reader.get("/account"))
