"""Coming in, as a browser does it, and everything that must not let anybody in."""

from __future__ import annotations

import re
from pathlib import Path

import pyotp
import pytest
from flask import Flask
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, Reader, faults, told, value_of

from fedflow.server.api.app import create_app
from fedflow.server.services import accounts, audit, identity, invitations, links, second_factor, sign_in
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

WRONG = "The address, the password or the code is wrong, or there were too many tries. Check them, or wait a while."


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


def actions(store: Store) -> list[str]:
    return [entry.action for entry in reversed(audit.listed(store, before=2**62, limit=100))]


def test_the_first_link_makes_the_first_administrator_once(site: Site) -> None:
    code = invitations.first(site.store)
    reader = site.reader()
    page = reader.get(f"/invitation/{code}")
    assert "You are invited as an administrator of this server." in told(page)
    fields = {"name": "Ada Lovelace", "email": "ada@example.org", "password": PASSWORD}
    made = reader.post(f"/invitation/{code}", fields)
    assert (made.status_code, made.headers["Location"]) == (303, "/")
    first = told(reader.get("/"))
    assert "Welcome to FedFlow, Ada Lovelace." in first
    assert "As soon as the first organisation has joined." in first
    assert "Audit" in first
    again = site.reader().get(f"/invitation/{code}")
    assert again.status_code == 410
    assert "This invitation was used already. Sign in, or ask for another." in told(again)
    assert site.reader().get("/invitation/unknown").status_code == 404


def test_faults_stand_beside_their_fields_and_nothing_typed_is_lost(site: Site) -> None:
    path = f"/invitation/{invitations.first(site.store)}"
    reader = site.reader()
    answer = reader.post(path, {"name": "Ada <b>", "email": "no address", "password": PASSWORD})
    assert answer.status_code == 422
    assert faults(answer) == {"email": "Write an e-mail address with an @, such as name@example.org."}
    assert (value_of(answer, "name"), value_of(answer, "email")) == ("Ada <b>", "no address")
    assert PASSWORD not in answer.text
    short = reader.post(path, {"name": "Ada", "email": "ada@example.org", "password": "short"})
    assert faults(short) == {"password": "Has 5 characters. Take at least 12."}
    nameless = reader.post(path, {"name": " ", "email": "ada@example.org", "password": PASSWORD})
    assert faults(nameless) == {"name": "Write 1 to 80 characters on one line."}


def test_an_empty_form_is_sent_and_every_fault_stands_beside_its_field(site: Site) -> None:
    reader = site.reader()
    path = f"/invitation/{invitations.first(site.store)}"
    for form in ("/sign-in", "/forgotten", path):
        shown = reader.get(form).text
        assert "novalidate" in shown or '<form class="fields' not in shown, "the browser would speak its own language"
    address = "Write an e-mail address with an @, such as name@example.org."
    missing = reader.post(path, {"name": "", "email": "", "password": ""})
    assert missing.status_code == 422
    assert faults(missing) == {
        "name": "Write 1 to 80 characters on one line.",
        "email": address,
        "password": "Has 0 characters. Take at least 12.",
    }
    empty = reader.post("/sign-in", {"email": "", "password": ""})
    assert (empty.status_code, faults(empty)) == (422, {"email": address, "password": "Write your password."})


def test_who_is_signed_in_takes_an_invitation_up(site: Site) -> None:
    site.account("ada", "viewer")
    code = invitations.make(site.store, SERVER, site.federation_id, "coordinator")
    stranger = site.reader()
    come_in = re.search(r'href="(/sign-in\?next=[^"]+)"', stranger.get(f"/invitation/{code}").text)
    assert come_in is not None
    signed = stranger.sign_in("ada", next=f"/invitation/{code}")
    assert signed.headers["Location"] == f"/invitation/{code}"
    page = stranger.get(f"/invitation/{code}")
    assert "You are signed in as ada." in told(page)
    assert stranger.post(f"/invitation/{code}").headers["Location"] == "/"
    assert "coordinator" in told(stranger.get("/"))
    other = invitations.make(site.store, SERVER, site.federation_id, "administrator", email="eve@example.org")
    refused = stranger.post(f"/invitation/{other}")
    assert refused.status_code == 422
    assert "This invitation is for another address." in told(refused)


def test_one_comes_back_to_the_page_that_was_asked_for(site: Site) -> None:
    site.account("ada", "administrator")
    reader = site.reader()
    asked = reader.get(f"/audit/{site.federation_id}?what=signed+in")
    assert asked.status_code == 303
    page = reader.get(asked.headers["Location"])
    back = value_of(page, "next")
    assert back == f"/audit/{site.federation_id}?what=signed+in"
    assert reader.sign_in("ada", next=back).headers["Location"] == back
    assert reader.get("/sign-in").headers["Location"] == "/"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "\\\\evil.example",
        "/\n/evil.example",
        "evil.example",
        "",
    ],
)
def test_no_next_leads_to_another_site(site: Site, target: str) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    page = reader.get("/sign-in", query_string={"next": target})
    assert value_of(page, "next") == "/"
    assert reader.sign_in("ada", next=target).headers["Location"] == "/"
    assert reader.get("/sign-in", query_string={"next": target}).headers["Location"] == "/"
    assert reader.post("/preferences", {"next": target, "theme": "dark"}).headers["Location"] == "/"


def test_a_forged_host_is_told_nowhere(site: Site, settings: ServerSettings) -> None:
    site.account("ada")
    forged = {"Host": "evil.example"}
    assert "evil.example" not in str(site.reader().get("/", headers=forged).headers)
    behind = settings.model_copy(update={"public_url": "https://fedflow.example"})
    reader = Reader.of(create_app(site.store, behind), "https://evil.example")
    assert reader.sign_in("ada", next="/people/invite").headers["Location"] == "/people/invite"
    made = reader.post("/people/invite")
    assert "https://fedflow.example/invitation/" in made.text
    assert "evil.example" not in made.text


def test_a_page_that_is_open_when_the_sign_in_ends_leads_to_the_sign_in_page(site: Site) -> None:
    part = {"HX-Request": "true", "HX-Current-URL": "http://localhost/runs/7?round=2"}
    answer = site.reader().get("/runs/7?part=live", headers=part)
    assert (answer.status_code, answer.text) == (204, "")
    target = answer.headers["HX-Redirect"]
    assert target == "/sign-in?next=/runs/7?round%3D2"
    assert site.reader().get(target).status_code == 200
    for address in ("", "nonsense", "https://else.example"):
        answer = site.reader().get("/people", headers={"HX-Request": "true", "HX-Current-URL": address})
        assert answer.headers["HX-Redirect"].startswith("/sign-in")


def test_a_planted_cookie_is_worth_nothing_after_the_sign_in(site: Site) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    reader.client.set_cookie("fedflow_sign_in", "planted")
    guard = reader.guard()
    assert reader.get("/").status_code == 303
    reader.sign_in("ada")
    mine = reader.cookie()
    assert mine not in (None, "planted")
    assert reader.guard() != guard
    thief = site.reader()
    thief.client.set_cookie("fedflow_sign_in", "planted")
    assert thief.get("/").status_code == 303
    reader.post("/sign-out")
    assert reader.cookie() is None
    thief.client.set_cookie("fedflow_sign_in", str(mine))
    assert thief.get("/").status_code == 303  # signed out is signed out, whoever kept the cookie


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_are_as_hard_to_steal_as_the_connection_allows(
    site: Site, settings: ServerSettings, secure: bool
) -> None:
    site.account("ada", "viewer")
    told_url = "https://fedflow.example" if secure else None
    app = create_app(site.store, settings.model_copy(update={"public_url": told_url}))
    client = app.test_client()  # the proxy speaks http to the server
    guard = re.search(r'name="csrf_token" value="(\w+)"', client.get("/sign-in", base_url="https://localhost").text)
    fields = {"email": "ada@example.org", "password": PASSWORD}
    reader = Reader.of(app, "https://localhost" if secure else "http://localhost")
    cookies = reader.post("/sign-in", fields).headers.getlist("Set-Cookie")
    assert guard is not None
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.startswith("__Host-fedflow_" if secure else "fedflow_")
        assert ("; Secure" in cookie) == secure
        assert {"; HttpOnly", "; Path=/", "; SameSite=Lax"} <= set(re.findall(r"; [\w=/]+", cookie))
        assert "Domain" not in cookie


def test_nobody_learns_which_addresses_have_accounts(site: Site) -> None:
    site.account("ada", "viewer")
    shut = site.account("shut", "viewer")
    accounts.disable(site.store, SERVER, shut, disabled=True)
    answers = set()
    for name, password in (("ada", OTHER), ("nobody", OTHER), ("shut", PASSWORD), ("shut", OTHER)):
        answer = site.reader().sign_in(name, password)
        answers.add((answer.status_code, told(answer).replace(name, "NAME"), str(sorted(faults(answer).items()))))
        assert value_of(answer, "email") == f"{name}@example.org"
    assert len(answers) == 1
    assert faults(site.reader().sign_in("nobody"))["password"] == WRONG


def test_an_account_that_waits_says_no_more_than_a_wrong_password(site: Site, clock: Clock) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    tries = [reader.sign_in("ada", OTHER) for _ in range(sign_in.FREE_FAILURES)]
    locked = reader.sign_in("ada", PASSWORD)
    assert (locked.status_code, told(locked)) == (tries[0].status_code, told(tries[0]))
    assert reader.get("/").status_code == 303
    clock.now += sign_in.FIRST_LOCK_S
    assert reader.sign_in("ada").status_code == 303


def test_a_shut_account_is_out_at_the_next_click(site: Site) -> None:
    person = site.account("ada", "viewer")
    reader = site.reader("ada")
    assert reader.get("/").status_code == 200
    accounts.disable(site.store, SERVER, person, disabled=True)
    assert reader.get("/").status_code == 303
    assert reader.sign_in("ada").status_code == 422


def test_the_second_step_asks_for_the_code_alone(site: Site, clock: Clock) -> None:
    person = Caller("person", site.account("ada", "viewer"))
    begun = second_factor.begin(site.store, person)
    device = pyotp.TOTP(begun.secret)
    recovery = second_factor.confirm(site.store, person, device.at(clock.now))
    clock.now += 60
    reader = site.reader()
    first = reader.sign_in("ada", next="/account")
    assert first.status_code == 200
    assert "Enter your code" in told(first)
    assert PASSWORD not in first.text
    step = value_of(first, "step")
    wrong = reader.post("/sign-in", {"step": step, "code": "000000", "next": "/account"})
    assert faults(wrong) == {"code": WRONG}
    stolen = site.reader().post("/sign-in", {"step": step, "code": device.at(clock.now)})
    assert "The first step was too long ago." in told(stolen)
    done = reader.post("/sign-in", {"step": value_of(wrong, "step"), "code": device.at(clock.now), "next": "/account"})
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    late = site.reader()
    again = late.post("/sign-in", {"step": value_of(late.sign_in("ada"), "step"), "code": device.at(clock.now)})
    assert "Wait for the next one that your device shows" in faults(again)["code"]
    step = value_of(late.sign_in("ada"), "step")
    clock.now += 301
    assert "The first step was too long ago." in told(late.post("/sign-in", {"step": step, "code": recovery[0]}))
    step = value_of(late.sign_in("ada"), "step")
    assert late.post("/sign-in", {"step": step, "code": recovery[0]}).status_code == 303


def test_a_password_is_set_by_a_link_once(site: Site) -> None:
    person = site.account("ada", "viewer")
    signed_in = site.reader("ada")
    code = links.make(site.store, SERVER, person, "password")
    reader = site.reader()
    assert reader.get(f"/password/{code}").status_code == 200
    weak = reader.post(f"/password/{code}", {"password": "password1234"})
    assert faults(weak) == {"password": "This is easy to guess. Use a longer one, such as four or five unusual words."}
    assert reader.post(f"/password/{code}", {"password": OTHER}).headers["Location"] == "/sign-in"
    assert "Your password is set. Sign in with it." in told(reader.get("/sign-in"))
    assert signed_in.get("/").status_code == 303
    assert reader.sign_in("ada", OTHER).status_code == 303
    for used in (reader.post(f"/password/{code}", {"password": PASSWORD}), reader.get(f"/password/{code}")):
        assert used.status_code == 410
        assert "This link was used, has expired or is incomplete." in told(used)
        assert 'href="/forgotten"' in used.text


def test_an_address_is_confirmed_by_a_button_and_not_by_opening_the_link(site: Site) -> None:
    person = site.account("ada", "viewer")
    code = links.make(site.store, SERVER, person, "address", "ada@example.org")
    reader, eve = site.reader("ada"), site.reader()
    assert eve.get(f"/address/{code}").headers["Location"] == f"/sign-in?next=/address/{code}"
    assert eve.post(f"/address/{code}").status_code == 401, "it is for who has the account"
    reader.get(f"/address/{code}")
    assert "address confirmed" not in actions(site.store)
    assert reader.post(f"/address/{code}").status_code == 303
    assert actions(site.store)[-1] == "address confirmed"
    used = reader.get(f"/address/{code}")
    assert (used.status_code, 'href="/account"' in used.text) == (410, True)
    code = links.make(site.store, SERVER, person, "address", "before@example.org")
    assert reader.post(f"/address/{code}").status_code == 410


def test_nobody_confirms_an_address_for_who_made_an_account_with_it(site: Site) -> None:
    person = site.account("ada", "viewer")
    site.account("victim", "viewer")
    code = links.make(site.store, SERVER, person, "address", "ada@example.org")
    refused = site.reader("victim").post(f"/address/{code}")
    assert (refused.status_code, "of another account. Sign in with that one." in told(refused)) == (403, True)
    assert "address confirmed" not in actions(site.store)
    assert site.reader("ada").post(f"/address/{code}").status_code == 303


def test_registration_is_closed_unless_the_server_is_open(site: Site, settings: ServerSettings) -> None:
    reader = site.reader()
    assert reader.get("/register").status_code == 404
    fields = {"name": "Eve", "email": "eve@example.org", "password": PASSWORD}
    assert reader.post("/register", fields).status_code == 404
    assert "/register" not in reader.get("/sign-in").text
    reader = Reader.of(create_app(site.store, settings.model_copy(update={"open_registration": True})))
    assert "/register" in reader.get("/sign-in").text
    assert reader.post("/register", fields).headers["Location"] == "/"
    known = Reader.of(reader.client.application).post("/register", fields)
    assert faults(known) == {"email": "This address has an account already. Sign in with it."}
    assert "You belong to no federation yet" in told(reader.get("/"))
    assert reader.get("/people").status_code == 403


def test_errors_of_pages_are_pages_and_those_of_the_api_stay_json(site: Site) -> None:
    site.account("ada", "viewer")
    reader = site.reader("ada")
    as_browser = {"Accept": "text/html,*/*;q=0.8"}
    lost = reader.get("/nowhere", headers={**as_browser, "Accept-Language": "uk"})
    assert (lost.status_code, lost.mimetype) == (404, "text/html")
    assert "Сторінку не знайдено" in told(lost)
    assert reader.get("/api/v1/nowhere", headers=as_browser).mimetype == "application/json"
    refused = reader.get("/people", headers={"Accept-Language": "uk"})
    assert (refused.status_code, refused.mimetype) == (403, "text/html")
    assert "Це доступно лише адміністраторам сервера." in told(refused)
    assert reader.get("/sign-out", headers=as_browser).mimetype == "text/html"
    nul = reader.post("/account", {"name": "a\0b"})
    assert nul.status_code == 422
    large = reader.post("/account", {"name": "x" * 100_000})
    assert (large.status_code, large.mimetype) == (413, "text/html")


def test_the_cookie_opens_no_door_of_the_api(site: Site) -> None:
    site.account("ada")
    reader = site.reader("ada")
    assert reader.get("/api/v1/federations").status_code == 401


def test_logs_hold_no_code_of_a_link(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    code = invitations.first(site.store)
    reader = site.reader()
    with caplog.at_level("INFO"):
        for beginning in ("/invitation/", "/password/", "/address/"):
            for added in ("", "/", ".", "/more", "/?x", "%20"):
                reader.get(f"{beginning}{code}{added}")
            reader.client.put(f"{beginning}{code}/")
            reader.client.delete(f"{beginning}{code}")
            reader.get(f"{beginning.upper()}{code}")
            reader.get(f"/%2F{beginning[1:]}{code}.")
    paths = {record.path for record in caplog.records if hasattr(record, "path")}
    assert paths == {"/invitation/<code>", "/password/<code>", "/address/<code>"}
    assert code not in str([vars(record) for record in caplog.records])


def test_what_a_mail_program_adds_to_a_link_leads_to_its_page(site: Site) -> None:
    code = invitations.first(site.store)
    for added in ("/", ".", ".)", "/.", "%3E"):
        answer = site.reader().get(f"/invitation/{code}{added}")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/invitation/{code}"), added
    assert site.reader().get(f"/%2Finvitation/{code}.").headers["Location"] == f"/invitation/{code}", "no other host"
    assert site.reader().get(f"/invitation/{code}/more").status_code == 404
    assert site.reader().get(f"/invitation/{code}").status_code == 200


def test_the_first_coordinators_token_stays_theirs(site: Site) -> None:
    site.account("ada")
    token = (site.store.folder / identity.TOKEN_FILE).read_text().strip()
    assert identity.authenticate(site.store, token).name == "ada"
