"""A real SMTP server on loopback that keeps what is handed in, or refuses it."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class PostOffice:
    """Letters in the order in which they came; `refuses` is what the next ones are answered with, by the step."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    signed_in: list[str] = field(default_factory=list)
    tries: int = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tries += 1
        if "RCPT" in self.refuses:
            return self.refuses["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.refuses:
            return self.refuses["DATA"]
        content = cast(bytes, envelope.content)
        self.letters.append(cast(EmailMessage, email.message_from_bytes(content, policy=email.policy.default)))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, kind: str, data: object) -> AuthResult:
        right = isinstance(data, LoginPassword) and data.password == b"hush:/@"
        if right:
            self.signed_in.append(cast(LoginPassword, data).login.decode())
        return AuthResult(success=right)


@contextmanager
def post_office(tls: ssl.SSLContext | None = None) -> Iterator[PostOffice]:
    """An office that is open until the context ends; `tls`: it wants STARTTLS and a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        office = PostOffice(free.getsockname()[1])
    strict = {"require_starttls": True, "auth_required": True, "authenticator": office.authenticate} if tls else {}
    controller = Controller(office, hostname="127.0.0.1", port=office.port, tls_context=tls, **strict)
    controller.start()
    try:
        yield office
    finally:
        controller.stop()
