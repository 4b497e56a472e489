"""The first coordinator's token, which lies in the server's folder and has no end: made anew."""

from __future__ import annotations

from sqlalchemy import update

from fedflow.server.database.people import PersonToken
from fedflow.server.services import audit, identity
from fedflow.server.services.identity import FIRST, SERVER
from fedflow.server.store import Store


def renew(store: Store) -> None:
    """Write another into the folder's `coordinator.token`; all tokens that the first coordinator had end at once."""
    identity.first_coordinator(store)
    with store.begin() as session:
        mine = PersonToken.person_id == FIRST, PersonToken.revoked_at.is_(None)
        session.execute(update(PersonToken).where(*mine).values(revoked_at=store.clock()))
        audit.record(session, store, SERVER, "server's token made anew", "person", FIRST)
        identity.write_token(session, store)
