"""One's own account in a browser: what is changed, shown once, ended, taken along."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pyotp
import pytest
from flask import Flask
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, faults, told, value_of

from fedflow.server.services import sign_in
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.web import meanwhile

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "
    "Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    site = Site.of(app, store)
    site.account("ada", "administrator")
    return site


def codes(page: str) -> list[str]:
    """What stands in the page to be copied."""
    return [unescape(found) for found in re.findall(r"<code>(.*?)</code>", page, re.DOTALL)]


def test_name_and_language_are_kept(site: Site) -> None:
    reader = site.reader("ada")
    reader.post("/preferences", {"language": "en"})
    assert reader.post("/account", {"name": "Ada  King", "locale": "uk"}).status_code == 303
    page = reader.get("/account")
    assert value_of(page, "name") == "Ada King"
    assert "Обліковий запис" in told(page)
    assert "Збережено." in told(page)
    refused = reader.post("/account", {"name": "x" * 81, "locale": "uk"})
    assert faults(refused) == {"name": "Від 1 до 80 символів в один рядок."}
    assert value_of(refused, "name") == "x" * 81
    assert reader.post("/account", {"name": "Ada", "locale": "xx"}).status_code == 422
    opened_before = meanwhile.mark({"name": "ada", "locale": ""})
    assert reader.post("/account", {"name": "Ada", "locale": "", "made_from": opened_before}).status_code == 409
    assert reader.post("/account", {"name": "ada", "locale": "en", "made_from": opened_before}).status_code == 409
    assert value_of(reader.get("/account"), "name") == "Ada King"


def test_another_address_asks_for_the_password(site: Site) -> None:
    site.account("eve", "viewer")
    reader = site.reader("ada")
    wrong = reader.post("/account/address", {"email": "ada@new.example", "password": OTHER})
    assert "The password is wrong" in faults(wrong)["password"]
    assert value_of(wrong, "email") == "ada@new.example"
    taken = reader.post("/account/address", {"email": "eve@example.org", "password": PASSWORD})
    assert faults(taken) == {"email": "Another account has this address."}
    assert reader.post("/account/address", {"email": "Ada@New.example", "password": PASSWORD}).status_code == 303
    other = site.reader()
    assert other.sign_in("ada").status_code == 422
    assert other.post("/sign-in", {"email": "ada@new.example", "password": PASSWORD}).status_code == 303


def test_a_new_password_ends_the_other_browsers(site: Site) -> None:
    here, there = site.reader("ada"), site.reader("ada")
    assert "old" in faults(here.post("/account/password", {"old": OTHER, "new": OTHER}))
    weak = here.post("/account/password", {"old": PASSWORD, "new": "password1234"})
    assert list(faults(weak)) == ["new"]
    ticked = re.compile(r'<input type="checkbox"[^>]* name="tokens"[^>]* checked')
    assert not ticked.search(weak.text), "as it was sent"
    assert ticked.search(here.get("/account/sign-in").text)
    answer = here.post("/account/password", {"old": PASSWORD, "new": OTHER, "tokens": ["off", "on"]})
    assert answer.status_code == 303
    assert "Your API tokens are revoked." in here.get("/account/sign-in").text
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


def test_a_second_device_is_set_up_used_and_taken_off(site: Site, clock: Clock) -> None:
    reader = site.reader("ada")
    assert reader.get("/account/second-factor").headers["Location"] == "/account/sign-in"
    assert list(faults(reader.post("/account/second-factor", {"password": OTHER}))) == ["password"]
    assert reader.post("/account/second-factor", {"password": PASSWORD}).headers["Location"] == "/account/second-factor"
    page = reader.get("/account/second-factor")
    picture = re.search(r"<svg.*?</svg>", page.text[page.text.index('class="qr"') :], re.DOTALL)
    assert picture is not None
    assert "<path" in picture[0]
    assert "style=" not in picture[0]
    secret = codes(page.text)[0].replace(" ", "")
    wrong = reader.post("/account/second-factor/code", {"code": "000000"})
    assert faults(wrong) == {
        "code": "This is not the code that your device shows now. Check its clock, then try again."
    }
    assert codes(wrong.text)[0].replace(" ", "") == secret
    sent: dict[str, object] = {"code": pyotp.TOTP(secret).at(clock.now), "csrf_token": reader.guard()}
    done = reader.post("/account/second-factor/code", sent)
    recovery = codes(done.text)[0].split("\n")
    assert len(set(recovery)) == 10
    reloaded = reader.post("/account/second-factor/code", sent)
    assert reloaded.headers["Location"] == "/account/sign-in"
    page = reader.get("/account/sign-in")
    assert "The second step is on already, and its recovery codes were shown once." in told(page)
    assert recovery[0] not in page.text
    clock.now += 60
    other = site.reader()
    step = value_of(other.sign_in("ada"), "step")
    assert other.post("/sign-in", {"step": step, "code": recovery[0]}).status_code == 303
    page = reader.get("/account/sign-in")
    assert "9 recovery codes are left" in told(page)
    address, new = "/account/second-factor/recovery-codes", {"identifier": value_of(page, "identifier")}
    assert list(faults(reader.post(address, {**new, "password": OTHER}))) == ["password"]
    fresh = codes(reader.post(address, {**new, "password": PASSWORD}).text)[0].split("\n")
    assert len(set(fresh) | set(recovery)) == 20
    assert reader.post(address, {**new, "password": PASSWORD}).status_code == 303, "a reload makes no others"
    assert "10 recovery codes are left" in told(reader.get("/account/sign-in"))
    step = value_of(other.sign_in("ada"), "step")
    assert other.post("/sign-in", {"step": step, "code": recovery[1]}).status_code == 422, "what was before is over"
    assert other.post("/sign-in", {"step": step, "code": fresh[1]}).status_code == 303
    assert list(faults(reader.post("/account/second-factor/off", {"password": OTHER}))) == ["password"]
    assert reader.post("/account/second-factor/off", {"password": PASSWORD}).status_code == 303
    assert site.reader().sign_in("ada").status_code == 303


def test_browsers_are_named_and_ended(site: Site) -> None:
    reader = site.reader()
    reader.post("/sign-in", {"email": "ada@example.org", "password": PASSWORD}, headers={"User-Agent": FIREFOX})
    phone, third = site.reader(), site.reader("ada")
    phone.post("/sign-in", {"email": "ada@example.org", "password": PASSWORD}, headers={"User-Agent": IPHONE})
    page = reader.get("/account/sign-in")
    assert "Firefox on Linux" in told(page)
    assert "Safari on iPhone" in told(page)
    row = re.search(r"Safari on iPhone.*?action=\"(/account/browsers/[^\"]+/end)\"", page.text, re.DOTALL)
    assert row is not None
    assert reader.post(row[1]).status_code == 303
    assert phone.get("/").status_code == 303
    assert third.get("/").status_code == 200
    assert reader.post("/account/browsers/end").status_code == 303
    assert third.get("/").status_code == 303
    assert reader.get("/").status_code == 200
    site.account("eve", "viewer")
    assert site.reader("eve").post(row[1]).status_code == 404


def test_a_token_is_shown_once_and_does_what_was_asked(site: Site, clock: Clock) -> None:
    reader = site.reader("ada")
    empty = reader.post("/account/tokens", {"name": "script", "days": "30"})
    assert faults(empty) == {"scopes": "Choose at least one."}
    assert value_of(empty, "name") == "script"
    for days in ("0", "367", "-1", "soon", "1e3", "٣"):
        late = reader.post("/account/tokens", {"name": "script", "days": days, "scope.read": "on"})
        assert faults(late) == {"days": "Choose 1 to 366 days."}
    fields = {"name": "script", "days": "30", "scope.read": ["off", "on"], "federation": site.federation_id}
    made = reader.post("/account/tokens", fields)
    token = codes(made.text)[0]
    assert token.startswith("ffp_")
    page = reader.get("/account/tokens")
    assert token not in page.text
    assert "script" in told(page)
    assert "script View everything that you may see federation" in told(page)
    api = Api(site.app.test_client(), token)
    assert api("GET", "/api/v1/runs").status_code == 200
    assert api("GET", "/api/v1/me/tokens").status_code == 403
    revoke = re.search(r'action="(/account/tokens/[^"]+/revoke)"', page.text)
    assert revoke is not None
    assert reader.post(revoke[1]).status_code == 303
    assert api("GET", "/api/v1/runs").status_code == 401
    clock.now += sign_in.FRESH_S
    stale = reader.post("/account/tokens", fields)
    assert list(faults(stale)) == ["password"]
    assert "ffp_" in reader.post("/account/tokens", {**fields, "password": PASSWORD}).text
    assert "federation" in faults(reader.post("/account/tokens", {**fields, "federation": "another's"}))


def test_data_are_taken_along_and_the_account_is_deleted(site: Site) -> None:
    reader = site.reader("ada")
    data = reader.get("/account/data.json")
    assert data.headers["Content-Disposition"] == 'attachment; filename="fedflow-account.json"'
    assert data.headers["Cache-Control"] == "no-store"
    assert json.loads(data.text)["account"]["email"] == "ada@example.org"
    alone = reader.post("/account/delete", {"password": PASSWORD})
    assert "“federation” would be left without an administrator. Make somebody else one first." in told(alone)
    site.account("eve", "administrator")
    assert list(faults(reader.post("/account/delete", {"password": OTHER}))) == ["password"]
    assert reader.post("/account/delete", {"password": PASSWORD}).headers["Location"] == "/sign-in"
    assert reader.cookie() is None
    assert reader.sign_in("ada").status_code == 422
