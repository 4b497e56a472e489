"""What the pages promise against who is not to get in: headers, caches, cookies, links, sessions, what answers tell.

Forms of other sites are walked in test_rights.py, sign-in by a provider is in test_pages_provider.py.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname

import pyotp
import pytest
from flask import Flask
from sqlalchemy import event
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, Reader, faults, told
from tests.unit.server.run_setting import Setting
from tests.unit.server.test_rights import Walk, _pages
from werkzeug.test import TestResponse

from fedflow.server.api.app import create_app
from fedflow.server.services import accounts, audit, identity, invitations, links, passwords, second_factor
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.web import guard
from fedflow.web.headers import SWAGGER

PUBLIC = "https://fedflow.example"
ELSEWHERE = (
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\r\n/evil.example",
    "//evil.example/%2f..",
    "https:evil.example",
    "https://evil.example",
    "http:\\\\evil.example",
    "HTTPS://EVIL.EXAMPLE",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    " //evil.example",
    "\u2028//evil.example",
    "//\u00adevil.example",
    "@evil.example",
    ".evil.example",
    "evil.example",
    "?next=//evil.example",
    "#//evil.example",
)
"""Addresses that some browser, or some reader of addresses, takes for another site's."""


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


@pytest.fixture
def walk(app: Flask, store: Store, federation_id: str, setting: Setting) -> Walk:
    identity.first_coordinator(store)
    return Walk(app, store, federation_id, setting)


def answers(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, TestResponse, bool]]:
    """Every page's answer to the server's administrator and to nobody: path, answer, whether it is somebody's."""
    monkeypatch.setattr("fedflow.server.pages.runs.STREAM_S", 0.0)
    accounts.register(walk.store, "boss", "boss@example.org", PASSWORD, invitations.first(walk.store), "")
    boss, nobody = Reader.of(walk.app), Reader.of(walk.app)
    assert boss.sign_in("boss").status_code == 303
    for endpoint, method, rule in _pages(walk.app):
        if method == "GET":
            path = walk.path(endpoint, rule, None)
            yield path, boss.get(path, buffered=True), True
            yield path, nobody.get(path, buffered=True), False
    yield "/nowhere", boss.get("/nowhere", headers={"Accept": "text/html"}), True
    yield "/sign-out", boss.get("/sign-out", headers={"Accept": "text/html"}), True


def test_no_page_is_shown_inside_another_runs_others_code_or_is_kept(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    for path, answer, is_somebodys in answers(walk, monkeypatch):
        told_of, count = (path, answer.status_code), count + 1
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'", told_of
        assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'", told_of
        assert policy["form-action"] == "'self'", told_of
        assert answer.headers["X-Frame-Options"] == "DENY", told_of
        assert answer.headers["X-Content-Type-Options"] == "nosniff", told_of
        assert answer.headers["Referrer-Policy"] == "same-origin", told_of
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", told_of
        if is_somebodys and answer.status_code == 200 and not path.startswith("/assets/"):
            kept = answer.headers.get("Cache-Control", "")
            assert "no-store" in kept or ("private" in kept and "image" in answer.mimetype), (*told_of, kept)
    assert count > 60


def test_only_the_description_of_the_api_has_another_policy(site: Site) -> None:
    reader = site.reader()
    assert reader.get("/openapi/").headers["Content-Security-Policy"] == SWAGGER
    assert "frame-ancestors 'none'" in SWAGGER
    for path in ("/openapi-old", "/openapix/", "/OPENAPI/"):
        assert "unsafe-inline" not in reader.get(path).headers["Content-Security-Policy"], path


def test_over_https_nothing_goes_unencrypted(site: Site, settings: ServerSettings) -> None:
    app = create_app(site.store, settings.model_copy(update={"public_url": PUBLIC}))
    answer = Reader.of(app, "https://localhost").get("/sign-in")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "Strict-Transport-Security" not in site.reader().get("/sign-in").headers


def test_no_next_leads_to_another_site(site: Site) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    for target in ELSEWHERE:
        for answer in (
            reader.get("/sign-in", query_string={"next": target}),
            reader.sign_in("ada", next=target),
            reader.get("/sign-in", query_string={"next": target}),  # signed in now: it leads on at once
            reader.post("/preferences", {"next": target, "theme": "dark"}),
        ):
            location = answer.headers.get("Location", "/")
            assert location == "/", (target, location)
            hidden = re.search(r'name="next" value="([^"]*)"', answer.text)
            assert hidden is None or hidden[1] == "/", target
        reader.post("/sign-out")


def test_a_next_of_ours_is_kept_whole(site: Site) -> None:
    site.account("ada", "viewer")
    for target in ("/", "/account", "/runs?state=failed&page=2", "/audit/x?what=signed+in", "/a//b", "/%2f%2fevil"):
        assert site.reader().sign_in("ada", next=target).headers["Location"] == target


def test_a_wrong_host_is_in_no_link_and_no_redirect(site: Site, settings: ServerSettings) -> None:
    site.account("boss")
    app = create_app(site.store, settings.model_copy(update={"public_url": PUBLIC}))
    reader = Reader.of(app, "https://evil.example")
    person = site.account("ada", "viewer")
    assert reader.sign_in("boss").status_code == 303
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=evil.example"}
    made = [
        reader.post("/people/invite", headers=forged),
        reader.post(f"/people/{site.federation_id}/invite", {"role": "viewer"}, headers=forged),
        reader.post(f"/people/accounts/{person}/password-link", headers=forged),
        reader.post(f"/people/accounts/{person}/address-link", headers=forged),
    ]
    for answer in made:
        assert answer.status_code == 200
        assert re.search(rf"{PUBLIC}/(invitation|password|address)/[\w-]{{32}}", answer.text)
        assert "evil.example" not in answer.text
    for path in ("/", "/account", "/people", "/audit", "/sign-in", "/runs"):
        answer = reader.get(path, headers=forged)
        assert "evil.example" not in answer.text, path
        assert "evil.example" not in str(answer.headers), path


def test_without_a_public_address_only_a_name_of_this_machine_stands_in_a_link(site: Site) -> None:
    site.account("boss")
    for host, link in (
        ("evil.example", f"http://127.0.0.1:{ServerSettings(folder=site.store.folder).port}"),
        ("8.8.8.8:8440", f"http://127.0.0.1:{ServerSettings(folder=site.store.folder).port}"),
        ("localhost:8451", "http://localhost:8451"),
        ("192.168.1.20:8440", "http://192.168.1.20:8440"),
        (f"{gethostname()}:8440", f"http://{gethostname()}:8440"),
    ):
        reader = Reader.of(site.app, f"http://{host}")
        assert reader.sign_in("boss").status_code == 303
        answer = reader.post(f"/people/{site.federation_id}/invite", {"role": "viewer"})
        assert f"{link}/invitation/" in answer.text, host
        assert "evil.example" not in answer.text


def test_a_cookie_is_as_short_lived_and_closed_as_it_can_be(site: Site) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    given = reader.sign_in("ada").headers.getlist("Set-Cookie")
    given += reader.post("/account", {"name": "Ada", "locale": ""}).headers.getlist("Set-Cookie")  # a flash
    names = {cookie.partition("=")[0] for cookie in given}
    assert {"fedflow_sign_in", "fedflow_guard", "fedflow_told"} <= names
    for cookie in (each for each in given if "Max-Age=0" not in each):
        assert "SameSite=Lax" in cookie, cookie
        assert "Path=/" in cookie, cookie
        assert "Domain=" not in cookie, cookie
        assert "HttpOnly" in cookie, cookie


def test_the_session_is_a_new_one_after_every_step_that_makes_it_worth_more(site: Site, clock: Clock) -> None:
    """Sign-in, second factor, another password: whoever knew the cookie before knows nothing after."""
    person = Caller("person", site.account("ada", "viewer"))
    reader = site.reader()
    reader.client.set_cookie("fedflow_sign_in", "planted")
    reader.client.set_cookie("fedflow_guard", "planted")
    planted_guard = reader.guard()
    assert reader.sign_in("ada").status_code == 303
    first = reader.cookie()
    assert first not in (None, "planted")
    assert reader.guard() != planted_guard
    device = pyotp.TOTP(second_factor.begin(site.store, person).secret)
    second_factor.confirm(site.store, person, device.at(clock.now))
    clock.now += 60
    again = site.reader()
    again.client.set_cookie("fedflow_sign_in", "planted")
    step = re.search(r'name="step" value="([^"]+)"', again.sign_in("ada").text)
    assert step is not None
    assert again.cookie() == "planted"  # not signed in yet, by no cookie
    assert again.get("/").status_code == 303
    again.post("/sign-in", {"step": step[1], "code": device.at(clock.now)})
    assert again.cookie() not in (None, "planted", first)
    before = again.cookie()
    assert again.post("/account/password", {"old": PASSWORD, "new": OTHER}).status_code == 303
    assert again.cookie() not in (None, before)
    assert again.get("/").status_code == 200
    for old in (first, before):
        thief = site.reader()
        thief.client.set_cookie("fedflow_sign_in", str(old))
        assert thief.get("/").status_code == 303


def test_registering_says_nothing_of_who_has_an_invitation(site: Site) -> None:
    """A code that is unknown and one that is used up by another look alike where nothing was proved."""
    codes = {invitations.make(site.store, SERVER, site.federation_id, "viewer") for _ in range(2)}
    for code in codes:
        assert site.reader().get(f"/invitation/{code}").status_code == 200
    unknown = {told(site.reader().get(f"/invitation/{'x' * 32}{number}")) for number in range(2)}
    assert len(unknown) == 1
    links_unknown = {told(site.reader().post(f"/password/{'x' * 32}{n}", {"password": OTHER})) for n in range(2)}
    assert len(links_unknown) == 1


def test_wrong_sign_ins_look_alike_whoever_is_asked_for(site: Site, clock: Clock) -> None:
    site.account("ada", "viewer")
    person = Caller("person", site.account("guarded", "viewer"))
    device = pyotp.TOTP(second_factor.begin(site.store, person).secret)
    second_factor.confirm(site.store, person, device.at(clock.now))
    accounts.disable(site.store, SERVER, site.account("shut", "viewer"), disabled=True)
    seen = set()
    for name in ("ada", "guarded", "shut", "nobody"):
        answer = site.reader().sign_in(name, OTHER)
        headers = {key: value for key, value in answer.headers if key not in ("X-Request-ID", "Set-Cookie")}
        length = int(headers.pop("Content-Length")) - answer.text.count(name) * len(name)
        seen.add((answer.status_code, told(answer).replace(name, ""), str(faults(answer)), str(headers), length))
    assert len(seen) == 1


def test_a_wrong_sign_in_costs_the_same_work_whoever_is_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One argon2 with the same parameters, and the same statements, for an address with and without account.

    The clock is looked at too, coarsely: the medians of some tries may differ by half, as other work disturbs them.
    """
    site.account("ada", "viewer")
    accounts.disable(site.store, SERVER, site.account("shut", "viewer"), disabled=True)
    hashed: list[str] = []
    verify = passwords.HASHER.verify
    counting = type("Counting", (), {"verify": lambda _, kept, text: (hashed.append(kept), verify(kept, text))[1]})()
    monkeypatch.setattr(passwords, "HASHER", counting)
    statements: list[str] = []
    event.listen(
        site.store.engine, "before_cursor_execute", lambda *told: statements.append(told[2].split(" WHERE")[0])
    )
    reader = site.reader()
    guard = reader.guard()

    def work(name: str) -> tuple[list[str], list[str], float]:
        hashed.clear()
        statements.clear()
        began = time.perf_counter()
        reader.client.post(
            "/sign-in",
            data={"csrf_token": guard, "email": f"{name}@example.org", "password": OTHER},
            base_url=reader.base,
        )
        took = time.perf_counter() - began
        return [kept.rpartition("$")[0].rpartition("$")[0] for kept in hashed], list(statements), took

    work("ada"), work("nobody")  # each has its line of tries now
    tries = [(work("ada"), work("nobody"), work("shut")) for _ in range(3)]
    for known, unknown, shut in tries:
        assert known[0] == unknown[0] == shut[0]
        assert len(known[0]) == 1
        assert len(known[1]) - len(unknown[1]) in (0, 1)  # the account's row is locked, which takes no time to speak of
    known_s, unknown_s = (statistics.median(each[place][2] for each in tries) for place in (0, 1))
    assert 0.5 < known_s / unknown_s < 2.0


def test_every_form_carries_the_guard_of_its_browser(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = 0
    for path, answer, _ in answers(walk, monkeypatch):
        for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", answer.text, re.DOTALL):
            forms += 1
            assert f'name="{guard.FIELD}"' in form, (path, form[:200])
    assert forms > 40


def test_no_page_changes_anything_by_being_looked_at(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture in another site's page sends GETs with the reader's cookies: they write no entry of the audit log.

    But for a download of the log itself: whoever's page led to it, it happened.
    """
    seen = answers(walk, monkeypatch)
    next(seen)
    before = audit.listed(walk.store, before=2**62, limit=1)[0].number
    for _ in seen:
        pass
    made = audit.listed(walk.store, before=2**62, limit=1000)
    actions = {entry.action for entry in made if entry.number > before}
    assert actions <= SETTING_UP | {"log downloaded"}


SETTING_UP = {"account made", "invited", "invitation taken up", "join code made", "device joined", "released"}
"""What the walk itself makes so that there is something to look at."""


def test_a_link_is_worth_nothing_once_it_was_used_or_replaced(site: Site) -> None:
    person = site.account("ada", "viewer")
    old, new = (links.make(site.store, SERVER, person, "password") for _ in range(2))
    reader = site.reader()
    assert reader.post(f"/password/{old}", {"password": OTHER}).status_code == 410
    assert site.reader("ada").post(f"/address/{new}").status_code == 410
    assert reader.post(f"/password/{new}", {"password": OTHER}).status_code == 303
    assert reader.post(f"/password/{new}", {"password": PASSWORD}).status_code == 410
