"""People of a federation who use the pages."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from tests.unit.server.reader import PASSWORD, Reader

from fedflow.server.database.people import RoleName
from fedflow.server.services import accounts, federations, identity, invitations
from fedflow.server.services.identity import SERVER
from fedflow.server.store import Store


@dataclass
class Site:
    """A server with its first federation, and browsers that visit it."""

    app: Flask
    store: Store
    federation_id: str

    @classmethod
    def of(cls, app: Flask, store: Store) -> Site:
        identity.first_coordinator(store)
        return cls(app, store, federations.first_federation(store))

    def account(self, name: str, role: RoleName | None = None) -> str:
        """Somebody with an account; the server's administrator without a role."""
        if role is None:
            code = invitations.first(self.store)
        else:
            member = "studio" if role == "participant" else None
            code = invitations.make(self.store, SERVER, self.federation_id, role, member=member)
        return accounts.register(self.store, name, f"{name}@example.org", PASSWORD, code, "192.0.2.7")

    def reader(self, name: str | None = None) -> Reader:
        """A browser; signed in with the name's account where one is given."""
        reader = Reader.of(self.app)
        if name is not None:
            answer = reader.sign_in(name)
            assert answer.status_code == 303, answer.text
        return reader
