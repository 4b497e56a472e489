"""Sends the letters that are due, over SMTP. Nothing of one is in a log: it may hold a link that lets somebody in."""

from __future__ import annotations

import logging
import smtplib
import ssl
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from babel.support import NullTranslations, Translations
from sqlalchemy import select

import fedflow.server.pages
from fedflow.server.database.away import Outage
from fedflow.server.database.people import Person
from fedflow.server.pages.letter_words import LETTERS, SIGNATURE
from fedflow.server.services import invitations, letters, links
from fedflow.server.services.identity import Caller
from fedflow.server.services.letters import Written
from fedflow.server.settings import POST_PORTS, ServerSettings
from fedflow.server.store import Store

LOOK_S = 0.5
PATIENCE_S = 20.0
TRANSLATIONS = Path(fedflow.server.pages.__file__).parent / "translations"
POST = Caller("server", "", name="server", via="letter")

log = logging.getLogger("fedflow.worker")


@dataclass(frozen=True)
class _Text:
    """What is to be said to whom. `code`: of the link or invitation that was made for it, if one was."""

    kind: str
    locale: str
    values: dict[str, str]
    code: str = ""


def mail(store: Store, settings: ServerSettings, worker: str, ended: threading.Event) -> None:
    """Send what is due until `ended`; a database that is away is waited for."""
    outage = Outage(log, "the sending of letters")
    pause_s = LOOK_S
    while not ended.wait(pause_s):
        try:
            send_due(store, settings, worker)
        except Exception as error:  # a database that is gone comes back; letters must still be sent then
            pause_s = outage.failed(error)
        else:
            outage.over()
            pause_s = LOOK_S


def send_due(store: Store, settings: ServerSettings, worker: str) -> int:
    """Send every letter that is due now, and put back what could not be sent. Returns how many were handed in."""
    sent = 0
    for letter_id in letters.due(store):
        letter = letters.claim(store, letter_id, worker)
        if letter is None:
            continue
        try:
            sent += _send(store, settings, letter)
        except (OSError, smtplib.SMTPException) as error:
            if _is_final(error) or letter.attempts >= letters.MOST_ATTEMPTS:
                log.warning("letter %s (%s) is given up: %s", letter.id, letter.kind, _reason(error))
                letters.give_up(store, POST, letter, _reason(error))
            else:
                log.warning("letter %s (%s) is tried again: %s", letter.id, letter.kind, _reason(error))
                letters.put_back(store, letter, worker)
        else:
            letters.done(store, letter)
    return sent


def _send(store: Store, settings: ServerSettings, letter: Written) -> bool:
    """Whether the letter was handed in; False where nobody is to get it. Raises OSError and SMTPException."""
    text = _text(store, settings, letter)
    if text is None:
        return False
    try:
        _hand_in(settings, _message(settings, letter.to, text))
    except (OSError, smtplib.SMTPException):
        links.drop(store, text.code)
        invitations.drop(store, text.code)
        raise
    return True


def _text(store: Store, settings: ServerSettings, letter: Written) -> _Text | None:
    """What the letter says, with a link made for it; None where nobody here is to get one."""
    at = settings.public_url or ""
    if letter.kind == "invitation":
        link = f"{at}/invitation/{letter.values['code']}"
        return _Text("invitation", letter.locale, {"by": letter.values["by"], "link": link})
    if letter.kind == "changed":  # for the address that was the account's then
        return _Text(letter.values["change"], letter.locale, {**letter.values, "link": f"{at}/forgotten"})
    with store.read() as session:
        person = session.scalar(select(Person).where(Person.email == letter.to))
    if letter.kind == "register" and person is None:
        code = invitations.make(store, POST, None, None, email=letter.to, in_letter_alone=True)
        return _Text("register", letter.locale, {"link": f"{at}/invitation/{code}"}, code)
    if person is None or not _is_for(store, letter, person):
        return None
    locale = person.locale or letter.locale
    if letter.kind == "register":
        return _Text("registered", locale, {"name": person.name, "link": f"{at}/sign-in"})
    purpose: links.Purpose = "address" if letter.kind == "address" else "password"
    code = links.make(store, POST, person.id, purpose, letter.to)
    return _Text(purpose, locale, {"name": person.name, "link": f"{at}/{purpose}/{code}"}, code)


def _is_for(store: Store, letter: Written, person: Person) -> bool:
    """Whether the person is to get it: not where it is another's by now, nor where they got one a moment ago."""
    if person.disabled_at is not None or letter.person_id not in (None, person.id):
        return False
    if letter.kind == "register":
        return True
    if letter.kind == "address":
        return person.confirmed_at is None
    return letter.attempts > 1 or not links.was_mailed_lately(store, person.id, letter.to)


def _message(settings: ServerSettings, to: str, text: _Text) -> EmailMessage:
    said = _catalogue(text.locale)
    subject, *body = (said.gettext(part) for part in LETTERS[text.kind])
    sender = settings.mail_from or ""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    signature = said.gettext(SIGNATURE) % {"server": settings.public_url}
    paragraphs = "\n\n".join(body) % text.values
    message.set_content(f"{paragraphs}\n\n-- \n{signature}\n")
    return message


@cache
def _catalogue(locale: str) -> NullTranslations:
    return Translations.load(str(TRANSLATIONS), [locale])


def _hand_in(settings: ServerSettings, message: EmailMessage) -> None:
    parts = urlsplit(settings.smtp_url or "")
    host, port = parts.hostname or "", parts.port or POST_PORTS[parts.scheme]
    if parts.scheme == "smtps":
        post: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=ssl.create_default_context())
    else:
        post = smtplib.SMTP(host, port, timeout=PATIENCE_S)
    with post:
        if parts.scheme == "smtp+starttls":
            post.starttls(context=ssl.create_default_context())
        if parts.username:
            post.login(unquote(parts.username), unquote(parts.password or ""))
        post.send_message(message)


def _is_final(error: Exception) -> bool:
    """Whether the other side has said for good that it does not take this letter."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(500 <= status < 600 for status, _ in error.recipients.values())
    is_letters = isinstance(error, (smtplib.SMTPSenderRefused, smtplib.SMTPDataError))
    return is_letters and 500 <= getattr(error, "smtp_code", 0) < 600


def _reason(error: Exception) -> str:
    """What is told of it: neither an address nor what the other side repeats of the letter."""
    status = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {status}" if status else type(error).__name__
