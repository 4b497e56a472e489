"""How often one caller may ask, and what is answered then."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, Reader, told

from fedflow.server.api import limits
from fedflow.server.api.app import create_app
from fedflow.server.api.limits import Allowance, Limits, TooOften
from fedflow.server.api.rights import RIGHTS
from fedflow.server.services import audit
from fedflow.server.services.networks import network
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

FEW = Allowance("a test's", 3, 60)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


def taken(bucket: Limits, who: str) -> int:
    """How many more are taken now; then how long until the next."""
    count = 0
    while True:
        try:
            bucket.take(FEW, who)
        except TooOften:
            return count
        count += 1


def test_a_caller_has_so_many_at_once_and_so_many_a_minute(clock: Clock) -> None:
    bucket = Limits(clock)
    assert taken(bucket, "a") == 3
    assert taken(bucket, "b") == 3
    with pytest.raises(TooOften, match="wait 1 seconds, and try again"):
        bucket.take(FEW, "a")
    clock.now += 1
    assert taken(bucket, "a") == 1
    clock.now += 2
    assert taken(bucket, "a") == 2
    clock.now += 1000
    assert taken(bucket, "a") == 3
    bucket.take(Allowance("another's", 1, 0.5), "a")
    with pytest.raises(TooOften) as caught:
        bucket.take(Allowance("another's", 1, 0.5), "a")
    assert caught.value.retry_after_s == 120


def test_who_was_not_heard_of_for_long_is_forgotten_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KNOWN", 2)
    bucket = Limits(clock)
    for who in ("a", "b", "a", "c"):
        bucket.take(FEW, who)
    assert [taken(bucket, who) for who in ("a", "c")] == [1, 2]
    assert taken(bucket, "b") == 3


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_a_household_is_one(address: str, whose: str) -> None:
    assert network(address) == whose


def test_who_comes_in_too_often_waits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.OF_AN_ADDRESS, "pages.entry.signs_in", Allowance("coming in", 3, 1))
    reader = site.reader()
    assert [reader.sign_in(f"name{number}", OTHER).status_code for number in range(4)] == [422, 422, 422, 429]
    refused = reader.sign_in("name", OTHER)
    assert int(refused.headers["Retry-After"]) in range(55, 61)
    assert "You have sent too many requests. Wait" in told(refused)
    elsewhere = reader.post(
        "/sign-in", {"email": "a@example.org", "password": "x"}, environ_overrides={"REMOTE_ADDR": "192.0.2.9"}
    )
    assert elsewhere.status_code == 422


def test_who_guesses_codes_waits(anyone: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.OF_AN_ADDRESS, "devices.join", Allowance("joining", 2, 1))
    body = {"code": "0000-0000-0000-0000", "device_name": "x", "public_key": "A" * 43 + "=", "version": "1"}
    answers = [anyone("POST", "/api/v1/join", json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[-1].json["error"]["code"] == "too_often"
    assert "Retry-After" in answers[-1].headers


def test_each_caller_of_the_api_has_its_own_count(
    coordinator: Api, device: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CALLS", Allowance("calls", 2, 1))
    assert [coordinator("GET", "/api/v1/runs").status_code for _ in range(3)] == [200, 200, 429]
    assert device("GET", "/api/v1/me").status_code == 200


def test_everything_that_anybody_may_send_is_counted(app: Flask) -> None:
    """A new form or message for everybody is limited, or named here with the reason."""
    no_cost = {"web.preferences"}  # two cookies of the reader's own
    sent = {rule.endpoint for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert {each for each in sent if RIGHTS[each].who == "anyone"} - limits.OF_AN_ADDRESS.keys() == no_cost
    assert limits.OF_AN_ADDRESS.keys() <= RIGHTS.keys()


@pytest.mark.parametrize(("proxies", "seen"), [(0, "127.0.0.1"), (1, "198.51.100.4"), (2, "203.0.113.5")])
def test_the_callers_address_is_the_proxies_word_and_not_the_callers(
    site: Site, settings: ServerSettings, proxies: int, seen: str
) -> None:
    site.account("ada", "viewer")
    app = create_app(site.store, settings.model_copy(update={"proxies": proxies}))
    reader = Reader.of(app)
    said = {"X-Forwarded-For": "192.0.2.66, 203.0.113.5, 198.51.100.4", "X-Forwarded-Host": "evil.example"}
    fields = {"email": "ada@example.org", "password": "violet tram eats seven maps"}
    assert reader.post("/sign-in", fields, headers=said).status_code == 303
    assert audit.listed(site.store, action="signed in", before=2**62, limit=1)[0].address == seen
