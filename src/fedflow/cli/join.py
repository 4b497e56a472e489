"""`fedflow join`: take part in a federation with the pictures of one folder."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from fedflow.client.addresses import is_private, server_address, sign_in_page
from fedflow.client.answers import Unavailable, printable
from fedflow.client.connection import PATIENCE_S, Connection
from fedflow.client.home import Device, Home, default_home, only_home
from fedflow.client.machine_name import machine_name
from fedflow.client.owner import TerminalOwner
from fedflow.client.participant import Participant
from fedflow.client.place import Place
from fedflow.client.policy import Policy, read_policy
from fedflow.errors import MistakeError

ASK_S = 2.0
"""Between two questions whether this machine was let in."""


def join(
    url: str | None,
    data: Path,
    *,
    code: str | None = None,
    sign_in: bool = False,
    home: Path | None = None,
    name: str | None = None,
    shows_counts: bool | None = None,
    accept: bool = False,
    max_rounds: int | None = None,
    policy: Path | None = None,
    threads: int = 1,
    once: bool = False,
) -> None:
    """Join the federation at `url` with a one-time code, or go on as the device that joined from `home` before.

    With `sign_in` the code is what a person lets this device in by, on the server's page whose address is printed.
    A device that was shut out since then joins anew, with a new key; else the code of one that has joined stays unused.

    `data` holds the pictures; `name` is what the coordinator sees of this device, the machine's own where none is
    given. `shows_counts` says, as it joins, whether the member's name and picture counts are shown beyond the
    federation. `accept` answers yes to every run within the policy and `max_rounds`. With `once` it ends with the
    first run that is finished.

    Raises FedFlowError, one line, for what is wrong in what was asked or ends the participation; KeyboardInterrupt
    comes back with a message that says how to go on.
    """
    server = None if url is None else server_address(url)
    place = Place(data, threads)
    limits = _limits(policy, max_rounds)
    if home is None:
        home = only_home() if server is None else default_home(server)
    if home.resolve().is_relative_to(data.resolve()):
        raise MistakeError(f"{home}: lies within the pictures' folder {data}; give a --home outside it")
    if not accept and not sys.stdin.isatty():
        print("fedflow: nobody is at a terminal: this ends when a run asks for consent; see --accept", file=sys.stderr)
    own = Home(home)
    with own.alone(), Connection(own) as connection:
        name = name or machine_name()
        device = _device(own, connection, server, code, name, shows_counts, sign_in=sign_in)
        print(
            f"Member '{printable(device.member)}' of '{printable(device.federation)}' at {device.server}.", flush=True
        )
        owner = TerminalOwner(limits, accept_unasked=accept)
        participant = Participant(own, device, connection, place, limits, owner, once=once)
        try:
            participant.take_part()
        except KeyboardInterrupt:
            again = _same_again(own.folder, place, accept=accept, max_rounds=max_rounds, policy=policy, once=once)
            raise KeyboardInterrupt(
                f"stopped; all that was done is kept, and this goes on from there: {shlex.join(again)}"
            ) from None


def _same_again(
    home: Path, place: Place, *, accept: bool, max_rounds: int | None, policy: Path | None, once: bool
) -> list[str]:
    """The command that goes on, with the owner's limits."""
    words = ["fedflow", "join", "--data", str(place.data), "--home", str(home)]
    if policy is not None:
        words += ["--policy", str(policy)]
    if max_rounds is not None:
        words += ["--max-rounds", str(max_rounds)]
    if place.threads != 1:
        words += ["--threads", str(place.threads)]
    return [*words, *(["--accept"] if accept else []), *(["--once"] if once else [])]


def _device(
    home: Home,
    connection: Connection,
    server: str | None,
    code: str | None,
    name: str,
    shows_counts: bool | None,
    *,
    sign_in: bool,
) -> Device:
    device = home.device()
    if device is not None:
        if server not in (None, device.server):
            raise MistakeError(f"{home.folder}: has joined {device.server}; give another --home to join {server} too")
        if (code is None and not sign_in) or not _was_shut_out(connection):
            return device
        connection.leave()
        server = device.server
    if server is None or (code is None and not sign_in):
        raise MistakeError(
            f"{home.folder}: has not joined a federation yet; give the server's URL, and --code with the coordinator's "
            "one-time code, or --sign-in where you have an account there"
        )
    if not is_private(server):
        print(f"fedflow: {server} is not https: others on the network can read what is sent", file=sys.stderr)
    print(f"Joining {server}; a server that does not answer is tried for {PATIENCE_S:.0f} seconds.", flush=True)
    return connection.join(server, code or _code_by_sign_in(connection, server, name), name, shows_counts)


def _code_by_sign_in(connection: Connection, server: str, name: str) -> str:
    """The code with which this device joins once a person has let it in; waits for that. Raises MistakeError."""
    begun = connection.begin_sign_in(server, name)
    print(f"Open {sign_in_page(server, printable(begun.user_code))}")
    print(f"and sign in; let this machine in there if the page shows {printable(begun.user_code)}.", flush=True)
    while (found := connection.sign_in_state(server, begun.code)).state == "waiting":
        time.sleep(ASK_S)
    if found.state == "refused":
        raise MistakeError(f"this machine was not let in: somebody refused it at {server}")
    print(f"Let in: '{printable(found.federation)}' as '{printable(found.member)}'.", flush=True)
    return begun.code


def _was_shut_out(connection: Connection) -> bool:
    """Whether a code is needed although this device has joined before; says so where not."""
    try:
        if connection.is_shut_out():
            return True
    except Unavailable as error:
        print(f"fedflow: {error}", file=sys.stderr)
    print("fedflow: this device has joined before; the code was not used", file=sys.stderr)
    return False


def _limits(policy: Path | None, max_rounds: int | None) -> Policy:
    """The owner's policy, tightened by --max-rounds."""
    limits = Policy() if policy is None else read_policy(policy)
    if max_rounds is None:
        return limits
    return limits.model_copy(update={"max_rounds": min(max_rounds, limits.max_rounds or max_rounds)})
