"""E-mails to a real SMTP server: who gets one, what it says, what becomes of one that cannot be sent."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pyotp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask
from post_office import PostOffice, post_office
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, Reader, faults, told, value_of

from fedflow.cli.server import settings_of
from fedflow.errors import PlanError
from fedflow.server.api.app import create_app
from fedflow.server.database.people import Person
from fedflow.server.services import (
    accounts,
    audit,
    identities,
    invitations,
    letters,
    links,
    second_factor,
    system,
    tokens,
)
from fedflow.server.services.identity import FIRST, SERVER, Caller
from fedflow.server.services.provider import Claims
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker import mailing

FROM = "fedflow@fedflow.example"


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as office:
        yield office


@pytest.fixture
def settings(tmp_path: Path, office: PostOffice) -> ServerSettings:
    return ServerSettings(
        folder=tmp_path / "data",
        public_url="http://localhost",
        smtp_url=f"smtp://127.0.0.1:{office.port}",
        mail_from=FROM,
        open_registration=True,
    )


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


@pytest.fixture
def send(store: Store, settings: ServerSettings, office: PostOffice) -> Sent:
    return Sent(store, settings, office)


class Sent:
    """Does what the worker does, and gives what has come since."""

    def __init__(self, store: Store, settings: ServerSettings, office: PostOffice) -> None:
        self.store, self.settings, self.office = store, settings, office

    def __call__(self) -> list[tuple[str, EmailMessage]]:
        before = len(self.office.letters)
        mailing.send_due(self.store, self.settings, "worker")
        return list(zip(self.office.recipients[before:], self.office.letters[before:], strict=True))

    def one(self, to: str, subject: str) -> str:
        """The path of the link in the one letter that has come."""
        [(recipient, letter)] = self()
        assert (recipient, letter["To"], letter["From"], letter["Subject"]) == (to, to, FROM, subject)
        text = letter.get_content()
        [path] = re.findall(r"http://localhost(/\S+)", text)
        assert "FedFlow at http://localhost sent you" in text
        return str(path)


def waiting(store: Store) -> int:
    with store.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM letter").scalar() or 0)


def test_a_forgotten_password_is_set_by_a_mailed_link(site: Site, send: Sent, caplog: pytest.LogCaptureFixture) -> None:
    person = site.account("ada", "viewer")
    signed_in = site.reader("ada")
    text = tokens.make(site.store, Caller("person", person), "old", ("read",), 1000.0)
    reader = site.reader()
    assert "fedflow server password-link" not in reader.get("/forgotten").text
    bad = reader.post("/forgotten", {"email": "no address"})
    assert (bad.status_code, list(faults(bad))) == (422, ["email"])
    with caplog.at_level("DEBUG"):
        asked = reader.post("/forgotten", {"email": " ADA@example.org "})
        assert "a letter with a link is on its way there" in told(asked)
        path = send.one("ada@example.org", "Set a new password")
    assert path.startswith("/password/")
    code = path.rpartition("/")[2]
    assert code not in str([vars(record) for record in caplog.records if record.name != "mail.log"])  # the office's own
    assert code not in asked.text
    with site.store.engine.connect() as connection:
        for table in ("link", "letter", "audit_entry"):
            assert code not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())  # noqa: S608
    assert reader.post(path, {"password": OTHER}).headers["Location"] == "/sign-in"
    assert signed_in.get("/").status_code == 303
    assert reader.sign_in("ada", OTHER).status_code == 303
    with site.store.read() as session:
        assert session.get_one(Person, person).confirmed_at is not None
    client = site.app.test_client()  # nobody had confirmed the address: what came before is out
    assert client.get("/api/v1/runs", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    assert reader.post(path, {"password": PASSWORD}).status_code == 410


def test_the_same_is_said_and_written_for_known_and_unknown_addresses(site: Site, send: Sent) -> None:
    shut = site.account("shut", "viewer")
    accounts.disable(site.store, SERVER, shut, disabled=True)
    site.account("ada", "viewer")
    answers, rows = set(), []
    for name in ("ada", "nobody", "shut"):
        before = waiting(site.store)
        answer = site.reader().post("/forgotten", {"email": f"{name}@example.org"})
        answers.add((answer.status_code, told(answer).replace(name, "NAME")))
        rows.append(waiting(site.store) - before)
    assert (len(answers), rows) == (1, [1, 1, 1])
    assert [to for to, _ in send()] == ["ada@example.org"]
    assert waiting(site.store) == 0


def test_who_asks_again_and_again_fills_nobodys_letter_box(site: Site, send: Sent, clock: Clock) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    answers = {told(reader.post("/forgotten", {"email": "ada@example.org"})) for _ in range(8)}
    assert len(answers) == 1
    assert len(send()) == 1
    reader.post("/forgotten", {"email": "ada@example.org"})
    assert send() == []
    letters.ask(site.store, "password", "ada@example.org", "en")
    clock.now += 301
    assert len(send()) == 1


def test_an_account_is_made_by_a_mailed_link_alone_and_tells_nobody_who_has_one(site: Site, send: Sent) -> None:
    site.account("ada", "viewer")
    reader = site.reader()
    assert 'name="password"' not in reader.get("/register").text
    answers = set()
    for name in ("ada", "eve"):
        answer = reader.post("/register", {"email": f"{name}@example.org", "name": "x", "password": PASSWORD})
        answers.add((answer.status_code, told(answer).replace(name, "NAME")))
    assert len(answers) == 1
    (to_ada, known), (to_eve, unknown) = send()
    assert (to_ada, known["Subject"]) == ("ada@example.org", "You have an account already")
    assert (to_eve, unknown["Subject"]) == ("eve@example.org", "Make your account")
    [path] = re.findall(r"http://localhost(/invitation/\S+)", unknown.get_content())
    assert value_of(reader.get(path), "email") == "eve@example.org"
    made = reader.post(path, {"name": "Eve", "email": "eve@example.org", "password": PASSWORD})
    assert made.headers["Location"] == "/"
    assert send() == []  # the address is confirmed by the letter


def test_addresses_are_confirmed_by_a_mailed_link(site: Site, send: Sent) -> None:
    site.account("ada", "viewer")
    reader = site.reader("ada")
    assert "The address is not confirmed yet." in told(reader.get("/account"))
    reader.post("/account/address/letter")
    path = send.one("ada@example.org", "Confirm your address")
    assert reader.post(path).status_code == 303
    assert "not confirmed yet" not in told(reader.get("/account"))
    reader.post("/account/address/letter")
    assert send() == []
    reader.post("/account/address", {"email": "other@example.org", "password": PASSWORD})
    _, (to, letter) = sorted(send())
    assert (to, letter["Subject"]) == ("other@example.org", "Confirm your address")
    [path] = re.findall(r"http://localhost(/address/\S+)", letter.get_content())
    assert reader.post(path).status_code == 303
    code = invitations.make(site.store, SERVER, site.federation_id, "viewer")
    site.reader().post(f"/invitation/{code}", {"name": "Eve", "email": "eve@example.org", "password": PASSWORD})
    assert send.one("eve@example.org", "Confirm your address").startswith("/address/")


def test_an_invitation_is_mailed_in_the_inviters_language(site: Site, send: Sent) -> None:
    admin = _admin(site)
    made = admin.post(
        f"/people/{site.federation_id}/invite",
        {"role": "viewer", "email": "eve@example.org"},
        headers={"Accept-Language": "uk"},
    )
    [(to, letter)] = send()
    assert (to, letter["Subject"]) == ("eve@example.org", "Запрошення до FedFlow")
    assert "boss запрошує вас до FedFlow" in letter.get_content()
    [path] = re.findall(r"http://localhost(/invitation/\S+)", letter.get_content())
    [shown] = set(re.findall(r"http://localhost(/invitation/[\w-]+)", made.text))
    assert path not in made.text
    assert [site.reader().get(each).status_code for each in (path, shown)] == [200, 200]
    admin.post(f"/people/{site.federation_id}/invite", {"role": "viewer"})
    admin.post("/people/invite", {"email": "dan@example.org"})
    assert [to for to, _ in send()] == ["dan@example.org"]


@pytest.mark.parametrize("by_letter", [True, False])
def test_an_invitation_confirms_the_address_by_the_letter_alone(site: Site, send: Sent, by_letter: bool) -> None:
    answer = _admin(site).post(f"/people/{site.federation_id}/invite", {"role": "viewer", "email": "eve@example.org"})
    [(_, letter)] = send()
    text = letter.get_content() if by_letter else answer.text
    path = re.findall(r"http://localhost(/invitation/[\w-]+)", text)[0]
    made = site.reader().post(path, {"name": "Eve", "email": "eve@example.org", "password": PASSWORD})
    assert made.headers["Location"] == "/"
    with site.store.read() as session:
        [eve] = session.query(Person).filter_by(email="eve@example.org").all()
    assert (eve.confirmed_at is not None) is by_letter
    assert [letter["Subject"] for _, letter in send()] == ([] if by_letter else ["Confirm your address"])
    for text in (letter.get_content(), answer.text):  # one is as used as the other
        assert site.reader().get(re.findall(r"http://localhost(/invitation/[\w-]+)", text)[0]).status_code == 410


def test_who_has_an_account_confirms_its_address_by_the_letter_of_an_invitation(site: Site, send: Sent) -> None:
    admin, eve = _admin(site), site.account("eve")
    for by_letter in (False, True):
        answer = admin.post(f"/people/{site.federation_id}/invite", {"role": "viewer", "email": "eve@example.org"})
        [(_, letter)] = send()
        text = letter.get_content() if by_letter else answer.text
        assert site.reader("eve").post(re.findall(r"http://localhost(/invitation/[\w-]+)", text)[0]).status_code == 303
        with site.store.read() as session:
            assert (session.get_one(Person, eve).confirmed_at is not None) is by_letter


def test_who_has_an_account_is_told_of_every_change_to_it(site: Site, send: Sent, clock: Clock) -> None:
    for words in _changes(site, clock):
        (to, letter), *others = sorted(send())
        text = letter.get_content()
        assert (to, letter["Subject"]) == ("ada@example.org", "Your account was changed")
        assert words in text
        has_moved = "another address" in words
        assert [to for to, _ in others] == (["moved@example.org"] if has_moved else [])
        assert re.findall(r"http://localhost(/\S+)", text) == ([] if has_moved else ["/forgotten"])
        assert "moved@" not in text
        assert "tell an administrator of the server" in text


def test_no_change_is_told_where_no_letters_are_sent(site: Site, settings: ServerSettings, clock: Clock) -> None:
    none = create_app(site.store, settings.model_copy(update={"smtp_url": None, "open_registration": False}))
    assert [waiting(site.store) for _ in _changes(Site(none, site.store, site.federation_id), clock, None)] == [0] * 8


def test_a_change_is_told_in_the_owners_language_where_there_is_an_address(site: Site, send: Sent) -> None:
    first = Caller("person", FIRST, name="first")
    accounts.reset_password(site.store, links.make(site.store, SERVER, FIRST, "password"), OTHER, "", "en")
    accounts.change_email(site.store, first, OTHER, "boss@example.org", "en")
    assert [(to, letter["Subject"]) for to, letter in send()] == [("boss@example.org", "Confirm your address")]
    accounts.change_email(site.store, first, OTHER, "boss@example.org", "en")
    assert [letter["Subject"] for _, letter in send()] == ["Confirm your address"], "it is the same address"
    accounts.rename(site.store, first, "first", "uk")
    accounts.change_password(site.store, first, OTHER, PASSWORD, ends_tokens=False, letter_in="en")
    [(to, letter)] = send()
    assert (to, "Цей лист надіслав FedFlow" in letter.get_content()) == ("boss@example.org", True)


def test_a_letter_that_cannot_be_sent_is_tried_again_and_then_given_up(
    site: Site, send: Sent, office: PostOffice, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site.account("ada", "viewer")
    office.refuses = {"RCPT": "451 later ada@example.org"}
    site.reader().post("/forgotten", {"email": "ada@example.org"})
    assert send() == []
    assert send() == []
    assert office.tries == 1  # not before its time
    office.refuses = {}
    clock.now += letters.FIRST_PAUSE_S
    assert len(send()) == 1
    office.refuses = {"DATA": "554 never"}
    letters.ask(site.store, "register", "eve@example.org", "en")
    assert (send(), waiting(site.store)) == ([], 0)
    [entry] = audit.listed(site.store, before=2**62, limit=1)
    assert (entry.action, entry.facts) == ("letter given up", {"letter": "register", "reason": "SMTPDataError 554"})
    clock.now += links.LATELY_S + 1
    site.reader().post("/forgotten", {"email": "ada@example.org"})
    assert (send(), waiting(site.store)) == ([], 0)
    office.refuses = {}
    site.reader().post("/forgotten", {"email": "ada@example.org"})
    assert len(send()) == 1, "no letter came, so that asking again at once brings one"
    assert system.system(site.store).jobs == ()
    office.refuses = {"RCPT": "451 later"}
    letters.ask(site.store, "register", "dan@example.org", "en")
    clock.now += 100
    assert system.system(site.store).jobs == (system.Pile("letter", "queued", 1, 100.0),)
    for _ in range(letters.MOST_ATTEMPTS):
        assert send() == []
        clock.now += letters.FIRST_PAUSE_S * 2**letters.MOST_ATTEMPTS
    assert waiting(site.store) == 0
    told_of = "".join(record.getMessage() for record in caplog.records if record.name != "mail.log")
    assert "is tried again: SMTPRecipientsRefused" in told_of
    assert "is given up: SMTPDataError 554" in told_of
    assert "@example.org" not in told_of


def test_a_letter_is_one_workers_at_a_time_and_comes_back_from_a_dead_one(site: Site, send: Sent, clock: Clock) -> None:
    letters.ask(site.store, "register", "eve@example.org", "en")
    [letter] = letters.due(site.store)
    assert letters.claim(site.store, letter, "dead") is not None
    assert letters.claim(site.store, letter, "other") is None
    assert send() == []
    clock.now += letters.LEASE_S
    assert [to for to, _ in send()] == ["eve@example.org"]
    letters.ask(site.store, "register", "late@example.org", "en")
    clock.now += letters.LIFE_S
    assert (send(), waiting(site.store)) == ([], 0)


def test_the_letters_go_over_tls_with_a_password(
    site: Site, settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate.pem"
    context = _certified(certificate)
    letters.ask(site.store, "register", "eve@example.org", "en")
    with post_office(context) as office:
        url = f"smtp+starttls://post%40fedflow:hush%3A%2F%40@127.0.0.1:{office.port}"
        over = settings.model_copy(update={"smtp_url": url})
        assert mailing.send_due(site.store, over, "worker") == 0  # nobody vouches for the certificate
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with site.store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE letter SET due_at = 0")
        assert mailing.send_due(site.store, over, "worker") == 1
        assert (office.recipients, office.signed_in) == (["eve@example.org"], ["post@fedflow"])


def test_without_an_smtp_server_nothing_is_asked_for_or_written(site: Site, settings: ServerSettings) -> None:
    none = settings.model_copy(update={"smtp_url": None, "open_registration": False})
    reader = Reader.of(create_app(site.store, none))
    assert "fedflow server password-link ADDRESS" in reader.get("/forgotten").text
    assert reader.post("/forgotten", {"email": "ada@example.org"}).status_code == 404
    site.account("ada", "viewer")
    reader.sign_in("ada")
    assert reader.post("/account/address/letter").status_code == 404
    assert "is on its way" not in reader.get("/account").text
    assert waiting(site.store) == 0
    assert audit.verify(site.store).faults == ()


@pytest.mark.parametrize(
    ("given", "told_of"),
    [
        ({"smtp_url": "smtp://127.0.0.1"}, "--smtp-url: goes with --mail-from and --public-url"),
        ({"smtp_url": "http://127.0.0.1"}, "--smtp-url: .*give smtps://"),
        ({"smtp_url": "smtp://a:b@post.example"}, "--smtp-url: .*would send the password"),
    ],
)
def test_half_a_post_office_is_refused_at_the_start(tmp_path: Path, given: dict[str, str], told_of: str) -> None:
    with pytest.raises(PlanError, match=told_of) as caught:
        settings_of(folder=tmp_path, **given)
    assert "a:b" not in str(caught.value)


def _changes(site: Site, clock: Clock, letter_in: str | None = "en") -> Iterator[str]:
    """Change ada's account in each way that she is told of; gives the beginning of what the letter says."""
    admin, ada, secret = _admin(site), site.account("ada", "viewer"), {"password": PASSWORD}
    reader, caller = site.reader("ada"), Caller("person", ada, name="ada")
    assert reader.post("/account/password", {"old": PASSWORD, "new": OTHER}).status_code == 303
    yield "the password of your account at FedFlow was changed"
    code = links.make(site.store, SERVER, ada, "password")
    assert site.reader().post(f"/password/{code}", secret).status_code == 303
    yield "a new password was set for your account at FedFlow, by a link"
    reader = site.reader("ada")
    reader.post("/account/second-factor", secret)
    begun = second_factor.begun(site.store, caller)
    assert begun is not None
    sent = {"code": pyotp.TOTP(begun.secret).at(clock.now)}
    assert reader.post("/account/second-factor/code", sent).status_code == 200
    yield "the second step of the sign-in was set up"
    assert reader.post("/account/second-factor/recovery-codes", secret).status_code == 200
    yield "new recovery codes were made"
    assert reader.post("/account/second-factor/off", secret).status_code == 303
    yield "the second step of the sign-in was switched off"
    identities.link(site.store, caller, Claims("https://login.example", "ada", None, "ada"), letter_in)
    yield "an identity of the sign-in provider was linked"
    clock.now += 60
    device = pyotp.TOTP(second_factor.begin(site.store, caller).secret)
    second_factor.confirm(site.store, caller, device.at(clock.now))
    accounts.disable(site.store, SERVER, ada, disabled=True)
    for _ in range(2):  # there is nothing to switch off the second time
        assert admin.post(f"/people/accounts/{ada}/second-factor/off").status_code == 303
    yield "an administrator of the server switched off the second step"
    accounts.disable(site.store, SERVER, ada, disabled=False)
    moved = site.reader("ada").post("/account/address", {"email": "moved@example.org", **secret})
    assert moved.status_code == 303
    yield "your account at FedFlow has another address now, m…@example.org."


def _admin(site: Site) -> Reader:
    site.account("boss")
    return site.reader("boss")


def _certified(path: Path) -> ssl.SSLContext:
    """The context of a server at 127.0.0.1 whose certificate, written to `path`, vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)

    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    whole = path.with_name("with-key.pem")
    path.write_bytes(made.public_bytes(Encoding.PEM))
    whole.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(whole)
    return context
