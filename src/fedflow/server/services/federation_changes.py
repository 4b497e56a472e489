"""What becomes of a federation: renamed, closed and opened again, or deleted where nothing depends on it."""

from __future__ import annotations

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fedflow.federation.rounds import Status
from fedflow.server.database.people import DeviceSignIn, Invitation, PersonToken, Role
from fedflow.server.database.tables import (
    Artifact,
    Event,
    Import,
    JoinCode,
    Member,
    Run,
    SharedFile,
)
from fedflow.server.errors import Conflict
from fedflow.server.services import audit
from fedflow.server.services.federations import checked_name, locked_federation
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store

DEPENDING = (Member, Run, Artifact, Import)
"""A federation that has any of these is closed and not deleted."""

GOING_WITH_IT = (Role, Invitation, JoinCode, DeviceSignIn, PersonToken, SharedFile, Event)


def rename(store: Store, federation_id: str, name: str, by: Caller = SERVER) -> None:
    """Call it otherwise from now on. Raises NotFound, Unprocessable, Conflict where another has the name."""
    checked_name(name)
    try:
        with store.begin() as session:
            federation = locked_federation(session, federation_id)
            if federation.name == name:
                return
            told = {"before": federation.name, "name": name}
            federation.name = name
            session.flush()
            audit.record(session, store, by, "federation renamed", "federation", federation_id, federation_id, **told)
    except IntegrityError:
        raise Conflict(f"name: there is a federation '{name}' already; choose another name") from None


def close(store: Store, federation_id: str, *, closed: bool, by: Caller = SERVER) -> None:
    """Let nothing new begin there, or open it again; codes that nobody has used go. Twice changes nothing.

    Raises NotFound, Conflict where a run is not over.
    """
    under_way = Run.federation_id == federation_id, Run.status.not_in((Status.DONE, Status.STOPPED))
    with store.begin() as session:
        federation = locked_federation(session, federation_id)
        if (federation.closed_at is not None) == closed:
            return
        name = session.scalar(select(Run.name).where(*under_way).order_by(Run.id).limit(1)) if closed else None
        if name is not None:
            raise Conflict(f"the run '{name}' is not over; stop it or let it end, and close the federation then")
        federation.closed_at = store.clock() if closed else None
        session.execute(
            delete_from(JoinCode).where(JoinCode.federation_id == federation_id, JoinCode.used_at.is_(None))
        )
        session.flush()
        told = {"name": federation.name}
        done = "closed" if closed else "opened"
        audit.record(session, store, by, f"federation {done}", "federation", federation_id, federation_id, **told)


def may_be_deleted(store: Store, federation_id: str) -> bool:
    """Whether nothing depends on it."""
    with store.read() as session:
        return not any(
            session.scalar(select(table.id).where(table.federation_id == federation_id).limit(1)) for table in DEPENDING
        )


def delete(store: Store, federation_id: str, by: Caller = SERVER) -> None:
    """Take it away with its roles, invitations and the tokens for it alone.

    Raises NotFound, Conflict where anything of DEPENDING is there.
    """
    with store.begin() as session:
        federation = locked_federation(session, federation_id)
        for table in DEPENDING:
            if session.scalar(select(table.id).where(table.federation_id == federation_id).limit(1)) is not None:
                raise Conflict("the federation has members, runs, models or imports; close it instead")
        for going in GOING_WITH_IT:
            session.execute(delete_from(going).where(going.federation_id == federation_id))
        session.delete(federation)
        session.flush()
        told = {"name": federation.name}
        audit.record(session, store, by, "federation deleted", "federation", federation_id, federation_id, **told)
