"""Signing in at a server, in place of a join code: the owner lets this machine in on the server's own page.

No password passes through this machine: the owner types it at the server, with whatever else that asks for.
"""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import delete

from fedflow.client.addresses import server_address
from fedflow.client.connection import Connection
from fedflow.client.database.tables import ServerSignIn
from fedflow.client.home import Home
from fedflow.client.machine_name import LONGEST, machine_name
from fedflow.client.services import sendings
from fedflow.client.services.jobs import new_id
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.plan import Settings


class SignInRequest(Settings):
    """A server, and what it shall call this machine."""

    server: str = Field(min_length=1, max_length=400, description="Its address, such as https://fedflow.example.org.")
    device: str = Field(
        default_factory=machine_name,
        min_length=1,
        max_length=LONGEST,
        description="What the coordinator sees of this machine.",
    )


def begin(store: Store, request: SignInRequest) -> ServerSignIn:
    """Have the server wait for its owner. Raises FedFlowError, which names the field where the address is none."""
    try:
        server = server_address(request.server)
    except MistakeError as error:
        raise MistakeError(f"server: {error}") from None
    with _connected(store, server) as connection:
        begun = connection.begin_sign_in(server, request.device)
    now = store.clock()
    row = ServerSignIn(id=new_id(), server=server, device=request.device, code=begun.code, user_code=begun.user_code)
    row.created_at, row.expires_at, row.federation, row.member = now, now + begun.expires_in_s, "", ""
    with store.begin() as session:
        session.execute(delete(ServerSignIn).where(ServerSignIn.expires_at <= now))
        session.add(row)
    return row


def one(store: Store, identifier: str) -> ServerSignIn | None:
    """One that was begun; None where there is none, as some time after its end."""
    with store.read() as session:
        return session.get(ServerSignIn, identifier)


def ask(store: Store, row: ServerSignIn) -> str:
    """'waiting', 'refused', 'over' or 'approved', as the server says it now. Raises FedFlowError where it does not."""
    if row.member:
        return "approved"
    if row.expires_at <= store.clock():
        return "over"
    with _connected(store, row.server) as connection:
        found = connection.sign_in_state(row.server, row.code)
    if found.state == "approved":
        with store.begin() as session:
            kept = session.get_one(ServerSignIn, row.id)
            kept.federation, kept.member = found.federation, found.member
    return found.state


def _connected(store: Store, server: str) -> Connection:
    """To a server where nothing is joined yet; what is sent is in the log under its address."""
    home = Home(store.folder / "federations" / "none-yet")
    return Connection(home, patience_s=0.0, sent=lambda leaving: sendings.note(store, None, leaving, server))
