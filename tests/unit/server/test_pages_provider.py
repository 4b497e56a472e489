"""Signing in at an OpenID provider that is really asked: who comes in, who is linked, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from flask import Flask
from openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, openid_provider, rsa_key
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, Reader, faults, text_of, told, value_of
from werkzeug.test import TestResponse

from fedflow.errors import PlanError
from fedflow.server.api.app import create_app
from fedflow.server.database.people import Departure, Identity, Letter, Person
from fedflow.server.services import accounts, audit, invitations, links, second_factor, sign_in
from fedflow.server.services.identities import AWAY_S
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

ADA = {"sub": "ada-at-work", "email": "Ada@example.org", "email_verified": True, "name": "Ada Lovelace"}


@pytest.fixture
def provider(clock: Clock) -> Iterator[Provider]:
    with openid_provider(clock) as provider:
        provider.person = dict(ADA)
        yield provider


@pytest.fixture
def settings(tmp_path: Path, provider: Provider) -> ServerSettings:
    return ServerSettings(
        folder=tmp_path / "data",
        public_url="http://localhost",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Work",
        smtp_url="smtp://127.0.0.1:1",
        mail_from="fedflow@fedflow.example",
    )


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


@pytest.fixture
def open_app(store: Store, settings: ServerSettings) -> Flask:
    """The same server where everybody may make an account."""
    return create_app(store, settings.model_copy(update={"open_registration": True}))


def way_back(departed: TestResponse) -> str:
    """The address that the provider sends the browser back to."""
    return back_from(departed.headers["Location"])


def back_from(address: str) -> str:
    parts = urlsplit(httpx.get(address).headers["Location"])
    assert (parts.scheme, parts.netloc) == ("http", "localhost")
    return f"{parts.path}?{parts.query}"


def sign_in_there(reader: Reader, path: str = "/sign-in/provider") -> TestResponse:
    return reader.get(way_back(reader.get(path)))


def confirmed(site: Site, name: str = "ada") -> str:
    """Somebody whose account's address is confirmed, as the invitation's letter was sent to it."""
    email = f"{name}@example.org"
    code = invitations.make(site.store, SERVER, site.federation_id, "viewer", email=email, in_letter_alone=True)
    return accounts.register(site.store, name, email, PASSWORD, code, "")


def entries(store: Store) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.action, entry.facts) for entry in reversed(audit.listed(store, before=2**62, limit=100))]


def test_a_confirmed_address_links_and_signs_in(site: Site, provider: Provider) -> None:
    person = confirmed(site)
    reader = site.reader()
    assert "Sign in with Work" in told(reader.get("/sign-in"))
    planted = reader.cookie()
    done = sign_in_there(reader, "/sign-in/provider?next=/account")
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert reader.cookie() not in (None, planted)
    assert "ada" in told(reader.get("/account"))
    action, facts = entries(site.store)[-1]
    assert (action, facts["provider"]) == ("signed in", provider.issuer)
    assert entries(site.store)[-2] == ("identity linked", {"provider": provider.issuer})
    assert _letters(site.store) == ["changed"]
    ada, provider.person = provider.person, {**provider.person, "sub": "another"}
    other = sign_in_there(site.reader())
    assert other.status_code == 409, "who got her address at the provider since is not her"
    assert "Another identity of the sign-in provider opens the account with your address." in told(other)
    assert 'href="/sign-in"' in other.text
    provider.person = {**ada, "email": "moved@example.org", "email_verified": False}
    assert sign_in_there(site.reader()).headers["Location"] == "/"  # it is the subject that counts now
    with site.store.read() as session:
        [row] = session.query(Identity).all()
        assert (row.person_id, row.subject, row.email) == (person, "ada-at-work", "Ada@example.org")
        assert session.query(Departure).all() == []
    assert provider.asked.count("/keys") == 1


def test_what_is_sent_to_the_provider(site: Site) -> None:
    reader = site.reader()
    address = urlsplit(reader.get("/sign-in/provider?next=//evil.example").headers["Location"])
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert asked["redirect_uri"] == "http://localhost/sign-in/provider/back"
    assert asked["code_challenge_method"] == "S256"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    with site.store.read() as session:
        [row] = session.query(Departure).all()
        assert not any(asked[name] in str(vars(row)) for name in ("state", "nonce"))


WRONG_CLAIMS: tuple[dict[str, Any], ...] = (
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "another"},
    {"aud": [CLIENT_ID, "another"], "azp": "another"},
    {"iss": "https://another.example"},
    {"exp": 1},
    {"exp": None},
    {"iat": 4_000_000_000},
    {"sub": None},
    {"sub": ""},
    {"sub": "x" * 300},
    {"sub": 7},
    {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
)
"""Each alone; None leaves the claim out."""


def test_a_token_with_a_wrong_claim_signs_nobody_in(
    site: Site, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    confirmed(site)
    reader = site.reader()
    for claims in WRONG_CLAIMS:
        missing = [name for name, value in claims.items() if value is None]
        provider.claims = {} if missing else claims
        provider.sign = lambda told, missing=missing: provider.signed(  # type: ignore[misc]
            {name: value for name, value in told.items() if name not in missing}
        )
        refused = sign_in_there(reader)
        assert refused.status_code == 403, claims
        assert "The sign-in provider's answer is not valid." in told(refused)
        reason = caplog.messages[-1].partition(f"a sign-in by {provider.issuer} is refused: ")[2]
        assert reason.split()[-1:] in ([list(claims)[-1]], ["expired_token"], ["invalid_token"]), reason
    assert reader.cookie() is None
    assert "identity linked" not in dict(entries(site.store))
    provider.claims, provider.sign = {}, None
    assert sign_in_there(reader).status_code == 303


def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(site: Site, provider: Provider) -> None:
    confirmed(site)
    stranger = rsa_key("stranger")
    public = provider.key.as_pem(private=False)

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    def by_another(claims: dict[str, Any]) -> str:
        return (
            f"{part({'alg': 'RS256', 'kid': 'first'})}.{part(claims)}.{provider.signed(claims, stranger).split('.')[2]}"
        )

    def by_nobody(claims: dict[str, Any]) -> str:
        return f"{part({'alg': 'none'})}.{part(claims)}."

    def by_a_secret(claims: dict[str, Any]) -> str:
        """The key that everybody may read, taken for a shared secret."""
        text = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
        signature = hmac.new(public, text.encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    for provider.sign in (by_another, by_nobody, by_a_secret, lambda _: "no token"):
        assert sign_in_there(site.reader()).status_code == 403
    provider.sign = None
    assert sign_in_there(site.reader()).status_code == 303


def test_a_key_that_the_provider_has_changed_is_fetched(site: Site, provider: Provider) -> None:
    confirmed(site)
    sign_in_there(site.reader())
    provider.key = rsa_key("second")
    assert sign_in_there(site.reader()).status_code == 303
    assert provider.asked.count("/keys") == 2


def test_a_state_counts_once_for_a_while_and_in_one_browser(site: Site, clock: Clock) -> None:
    confirmed(site)
    reader = site.reader()
    late = "This sign-in was already used, took too long, or was started in another browser."
    back = way_back(reader.get("/sign-in/provider"))
    thief = site.reader()
    stolen = thief.get(back)
    assert (stolen.status_code, late in told(stolen)) == (404, True)
    assert reader.get(back).status_code == 303
    assert reader.get(back).status_code == 404
    other = site.reader()
    back = way_back(other.get("/sign-in/provider"))
    clock.now += AWAY_S
    assert other.get(back).status_code == 404
    assert other.get("/sign-in/provider/back?state=x&code=y").status_code == 404
    assert other.get("/sign-in/provider/back").status_code == 404
    declined = way_back(other.get("/sign-in/provider")).partition("&state=")[2]
    refused = other.get(f"/sign-in/provider/back?error=access_denied&state={declined}")
    assert (refused.status_code, "did not sign you in" in told(refused)) == (403, True)


def test_a_code_of_another_sign_in_is_worth_nothing(site: Site) -> None:
    """An attacker's code in the victim's window: PKCE and nonce are the victim's."""
    confirmed(site)
    attacker, victim = site.reader(), site.reader()
    code = parse_qs(urlsplit(way_back(attacker.get("/sign-in/provider"))).query)["code"][0]
    state = parse_qs(urlsplit(way_back(victim.get("/sign-in/provider"))).query)["state"][0]
    assert victim.get(f"/sign-in/provider/back?code={code}&state={state}").status_code == 403
    assert victim.cookie() is None


def test_an_address_that_either_side_has_not_confirmed_links_nobody(
    site: Site, provider: Provider, open_app: Flask
) -> None:
    site.account("ada", "viewer")  # by an invitation for anybody: the address is whatever was typed
    refused = sign_in_there(site.reader())
    assert refused.status_code == 409
    assert "An account here has your address and has not confirmed it." in told(refused)
    for claim in (False, "true", None):
        provider.person["email_verified"] = claim
        assert sign_in_there(site.reader()).status_code == 403
        unconfirmed = sign_in_there(Reader.of(open_app))
        assert (unconfirmed.status_code, "has confirmed an address of yours" in told(unconfirmed)) == (403, True)
    assert "identity linked" not in dict(entries(site.store))


def test_whoever_invited_an_address_and_opened_the_link_gets_nothing_of_its_owner(
    site: Site, provider: Provider
) -> None:
    eve = Caller("person", site.account("eve2", "coordinator"), name="eve2")
    code = invitations.make(site.store, eve, site.federation_id, "viewer", email="ada@example.org", letter_in="en")
    taken = site.reader().post(f"/invitation/{code}", {"name": "Ada", "email": "ada@example.org", "password": PASSWORD})
    assert taken.headers["Location"] == "/"
    refused = sign_in_there(site.reader())
    assert (refused.status_code, "has not confirmed it" in told(refused)) == (409, True)
    assert _identities(site.store) == []


def test_who_is_unknown_comes_by_invitation_or_where_all_may(site: Site, provider: Provider, open_app: Flask) -> None:
    refused = sign_in_there(site.reader())
    assert refused.status_code == 403
    assert "No account here is linked to this identity. Ask for an invitation" in told(refused)
    other = invitations.make(site.store, SERVER, site.federation_id, "viewer", email="eve@example.org")
    assert sign_in_there(site.reader(), f"/sign-in/provider?next=/invitation/{other}").status_code == 403
    code = invitations.make(site.store, SERVER, site.federation_id, "coordinator", email="ada@example.org")
    reader = site.reader()
    assert "Sign in with Work" in told(reader.get(f"/invitation/{code}"))
    assert sign_in_there(reader, f"/sign-in/provider?next=/invitation/{code}").headers["Location"] == "/"
    assert "coordinator" in told(reader.get("/"))
    assert "Ada Lovelace" in told(reader.get("/account"))
    further = f"/invitation/{invitations.make(site.store, SERVER, None, None, is_admin=True)}"
    reader = site.reader()
    assert sign_in_there(reader, f"/sign-in/provider?next={further}").headers["Location"] == further
    assert "Accept invitation" in told(reader.get(further)), "who has an account takes it up there"
    provider.person = {"sub": "eve", "email": "eve@example.org", "email_verified": True, "name": "\x1b[2J"}
    reader = Reader.of(open_app)
    assert sign_in_there(reader).headers["Location"] == "/"
    assert _letters(site.store) == [], "whose account is new knows of it"
    assert "eve" in told(reader.get("/account"))


def test_an_account_without_a_password_confirms_by_signing_in_anew(site: Site, open_app: Flask, clock: Clock) -> None:
    reader = Reader.of(open_app)
    sign_in_there(reader)
    page = reader.get("/account/sign-in")
    assert 'type="password"' in page.text
    assert 'name="old"' not in page.text
    assert reader.sign_in("ada", "").status_code == 422  # no password is no empty password
    [identity] = _identities(site.store)
    refused = reader.post(f"/account/identities/{identity}/unlink")
    assert (refused.status_code, "your only way to sign in" in told(refused)) == (422, True)
    clock.now += sign_in.FRESH_S
    stale = reader.post("/account/password", {"new": OTHER})
    assert (stale.status_code, "You signed in too long ago" in told(stale)) == (422, True)
    sign_in_there(reader)
    assert reader.post("/account/password", {"new": OTHER}).status_code == 303
    refused = reader.post(f"/account/identities/{identity}/unlink", {"unlink": PASSWORD})
    assert refused.status_code == 422
    assert reader.post(f"/account/identities/{identity}/unlink", {"unlink": OTHER}).status_code == 303
    assert entries(site.store)[-1][0] == "identity unlinked"
    assert reader.post(f"/account/identities/{identity}/unlink", {"unlink": OTHER}).status_code == 404
    sign_in_there(reader)  # the address is confirmed on both sides: it is linked again
    assert reader.post("/account/delete", {"password": OTHER}).status_code == 303
    assert _identities(site.store) == []


def test_who_has_no_password_types_their_address_to_delete_the_account(site: Site, open_app: Flask) -> None:
    reader = Reader.of(open_app)
    sign_in_there(reader)
    page = reader.get("/account/data")
    assert "Type the address of this account, to be sure." in told(page)
    for typed in ("", "eve@example.org"):
        refused = reader.post("/account/delete", {"email": typed})
        assert (refused.status_code, "This is not your account's address." in told(refused)) == (422, True)
    assert reader.post("/account/delete", {"email": " ADA@example.org"}).headers["Location"] == "/sign-in"
    assert _identities(site.store) == []


def test_an_identity_is_linked_by_hand_with_the_password(site: Site, provider: Provider) -> None:
    site.account("ada", "viewer")
    provider.person = {"sub": "ada-at-work"}
    reader = site.reader("ada")
    wrong = reader.post("/account/identities", {"link": OTHER})
    assert (wrong.status_code, list(faults(wrong))) == (422, ["link"])
    leave = reader.post("/account/identities", {"link": PASSWORD})
    address = _link_of(leave, "Continue to Work")
    stranger = site.reader()
    site.account("eve", "viewer")
    stranger.sign_in("eve")
    assert stranger.get(back_from(address)).status_code == 404
    address = _link_of(reader.post("/account/identities", {"link": PASSWORD}), "Continue to Work")
    linked = reader.get(back_from(address))
    assert linked.headers["Location"] == "/account/sign-in"
    assert "Linked. You can now sign in with it." in told(reader.get("/account/sign-in"))
    assert _letters(site.store) == ["changed"]
    assert sign_in_there(site.reader()).headers["Location"] == "/"
    address = _link_of(stranger.post("/account/identities", {"link": PASSWORD}), "Continue to Work")
    taken = stranger.get(back_from(address))
    assert (taken.status_code, "signs in another account" in told(taken)) == (409, True)


def test_a_second_factor_is_asked_for_here_too(site: Site, clock: Clock) -> None:
    person = Caller("person", confirmed(site))
    device = pyotp.TOTP(second_factor.begin(site.store, person).secret)
    second_factor.confirm(site.store, person, device.at(clock.now))
    clock.now += 60
    reader = site.reader()
    form = sign_in_there(reader, "/sign-in/provider?next=/account")
    assert "Enter your code" in told(form)
    assert reader.cookie() is None
    wrong = reader.post("/sign-in", {"step": value_of(form, "step"), "code": "000000", "next": "/account"})
    assert wrong.status_code == 422
    sent = {"step": value_of(wrong, "step"), "code": device.at(clock.now), "next": "/account"}
    assert site.reader().post("/sign-in", sent).status_code == 422
    assert reader.post("/sign-in", sent).headers["Location"] == "/account"


def test_a_shut_account_stays_out(site: Site) -> None:
    person = confirmed(site)
    accounts.disable(site.store, SERVER, person, disabled=True)
    for _ in range(2):
        reader = site.reader()
        refused = sign_in_there(reader)
        assert (refused.status_code, reader.cookie()) == (403, None)
        assert "Your account here is shut. Ask an administrator of the server." in told(refused)
        accounts.disable(site.store, SERVER, person, disabled=False)
        assert sign_in_there(site.reader()).status_code == 303
        accounts.disable(site.store, SERVER, person, disabled=True)  # whose identity is linked by now


def test_a_database_that_is_gone_is_not_taken_for_the_provider(site: Site) -> None:
    database = site.store.folder / "server.db"
    site.store.engine.dispose()
    database.rename(site.store.folder / "away.db")
    database.mkdir()
    answer = site.reader().get("/sign-in/provider")
    said = "A part of the server does not answer Error 503 The server's database does not answer."
    assert (answer.status_code, said in text_of(answer.text)) == (503, True)


def test_a_provider_that_fails_is_told_and_holds_nobody_up(
    site: Site, provider: Provider, settings: ServerSettings
) -> None:
    confirmed(site)
    provider.is_down = True
    answer = site.reader().get("/sign-in/provider")
    assert (answer.status_code, "does not answer as it should" in told(answer)) == (503, True)
    assert ("The sign-in provider does not answer" in told(answer), 'href="/sign-in"' in answer.text) == (True, True)
    provider.is_down = False
    for wrong in (
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": 7},
    ):
        provider.metadata = wrong
        assert site.reader().get("/sign-in/provider").status_code == 503
    provider.metadata = {}
    assert site.reader().get("/sign-in/provider").status_code == 303
    none = create_app(site.store, settings.model_copy(update={"oidc_issuer": None}))
    assert Reader.of(none).get("/sign-in/provider").status_code == 404
    assert "/sign-in/provider" not in Reader.of(none).get("/sign-in").text


@pytest.mark.parametrize(
    "given",
    [
        {"oidc_issuer": "https://login.example"},
        {"oidc_issuer": "https://login.example", "oidc_client_id": "x"},
        {"oidc_issuer": "http://login.example", "oidc_client_id": "x", "public_url": "https://fedflow.example"},
    ],
)
def test_half_a_provider_is_refused_at_the_start(tmp_path: Path, given: dict[str, str]) -> None:
    from fedflow.cli.server import settings_of  # noqa: PLC0415 - the command line's words

    with pytest.raises(PlanError, match=r"^--oidc-issuer: g"):
        settings_of(folder=tmp_path, **given)


def _identities(store: Store) -> list[str]:
    with store.read() as session:
        return [row.id for row in session.query(Identity).join(Person, Person.id == Identity.person_id)]


def _letters(store: Store) -> list[str]:
    """What the letters are for that wait to be sent."""
    with store.read() as session:
        return [row.kind for row in session.query(Letter)]


def _link_of(page: TestResponse, words: str) -> str:

    found = re.search(rf'href="([^"]+)"[^>]*>{words}<', page.text)
    assert found is not None, page.text
    return unescape(found[1])


def test_who_sets_a_password_by_a_link_is_told_of_linked_identities(site: Site, provider: Provider) -> None:
    person = confirmed(site)
    sign_in_there(site.reader())
    for is_linked in (True, False):
        reader = site.reader()
        code = links.make(site.store, SERVER, person, "password")
        done = reader.post(f"/password/{code}", {"password": OTHER})
        assert done.status_code == 303
        page = reader.get(done.headers["Location"])
        assert ("An identity at Work is still linked to your account" in told(page)) == is_linked
        come_in = {"email": "ada@example.org", "password": OTHER, "next": value_of(page, "next")}
        entered = reader.post("/sign-in", come_in).headers["Location"]
        assert entered == ("/account/sign-in" if is_linked else "/")
        if is_linked:
            assert "Unlink Ada@example.org" in told(reader.get(entered))
        with site.store.begin() as session:
            session.query(Identity).delete()
