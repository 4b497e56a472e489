"""`fedflow server`: start it, and say how people and participants reach it."""

from __future__ import annotations

import socket
from pathlib import Path

from pydantic import ValidationError

from fedflow import __version__
from fedflow.client.addresses import LOOPBACK
from fedflow.client.consent import size_text
from fedflow.errors import MistakeError, PlanError
from fedflow.plan import describe
from fedflow.server import backup, keys
from fedflow.server.database import away, schema
from fedflow.server.database.engines import make_engine
from fedflow.server.errors import Unprocessable
from fedflow.server.opening import open_existing, open_to_serve
from fedflow.server.processes import become_supervisor, set_up_logs
from fedflow.server.serve import wait_for_address
from fedflow.server.services import audit_looks, devices, directory, federations, identity, invitations, links, tokens
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, refuse_unfinished
from fedflow.server.worker.main import Pool, work
from fedflow.storage import read_json, write_json

FIRST_MEMBER = "participant-1"
STARTED = "started.json"
"""The file in the server's folder that says by which address it was started last."""

EVERY_ADDRESS = frozenset({"0.0.0.0", "::", "*", ""})  # noqa: S104 - to know them, not to listen there


def settings_of(**given: object) -> ServerSettings:
    """Settings from options; those not given keep their defaults. Raises PlanError, one line."""
    try:
        return ServerSettings.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise PlanError(_as_option(describe(error), error.errors()[0]["loc"])) from None


def run_server(settings: ServerSettings, federation_name: str | None = None) -> int:
    """Make what a first start needs, say where the server is, and run it until it is told to end.

    federation_name: what the first federation is called where there is none yet.
    """
    if settings.pictures is not None and not settings.pictures.is_dir():
        raise MistakeError(f"--pictures {settings.pictures}: no such folder; give the one that holds the pictures")
    settings = wait_for_address(settings)
    store = open_to_serve(settings)
    first = identity.first_coordinator(store)
    invitation = invitations.first(store)
    federation = _first_federation(store, federation_name)
    url = _url(settings)
    print(f"FedFlowServer: {url}   data: {settings.folder.absolute()}")
    print(f"API: {url}/openapi/   stop: Ctrl-C, nothing is lost")
    if settings.host in LOOPBACK and settings.public_url is None:
        print(
            "Only this machine reaches it: for others give --host 0.0.0.0, and put a proxy with TLS (https) in front."
        )
    if settings.public_url is not None and not settings.proxies:
        print("Behind a proxy that tells its callers' addresses in X-Forwarded-For give --proxies 1; else all are one.")
    if invitation is not None:
        print(f"Set up the first account: {url}/invitation/{invitation}   (works once, for a week)")
    if first is not None:
        code = devices.new_code(store, federation, FIRST_MEMBER, None, ttl_s=settings.code_ttl_s)
        if federations.one(store, federation).name == federations.DEFAULT:
            print(f"The federation is called '{federations.DEFAULT}': rename it on its page, under Settings.")
        print(f"The first participant is member '{FIRST_MEMBER}': fedflow join {url} --code {code} --data FOLDER")
    token_file = settings.folder.absolute() / identity.TOKEN_FILE
    usual = settings.folder == default_folder()
    if token_file.is_file():  # made by the first server, in its folder
        print(f"The coordinator's token is in {token_file}{'' if usual else ' (fedflow run … --token-file)'}")
    where = "" if usual else f" --folder {settings.folder.absolute()}"
    print(f"More codes: fedflow server{where} code MEMBER --server {url}")
    store.engine.dispose()
    write_json(settings.folder / STARTED, {"url": url, "address": address(settings)})
    return become_supervisor(settings)


def prepare(settings: ServerSettings, federation_name: str | None = None) -> None:
    """Make what a first start needs, as `run_server`, and print the link for the first account where nobody has one."""
    store = open_to_serve(settings)
    identity.first_coordinator(store)
    _first_federation(store, federation_name)
    invitation = invitations.first(store)
    if invitation is not None:
        print(f"Set up the first account: {_url(settings)}/invitation/{invitation}   (works once, for a week)")
    store.engine.dispose()


def _first_federation(store: Store, name: str | None) -> str:
    """The first federation, made where there is none. Raises MistakeError for what cannot be its name."""
    try:
        return federations.first_federation(store, name or federations.DEFAULT)
    except Unprocessable as error:
        raise MistakeError(f"--federation: {str(error).removeprefix('name: ')}") from None


def _url(settings: ServerSettings) -> str:
    return settings.public_url or address(settings)


def own_address(settings: ServerSettings) -> str:
    """Where commands find the server of this folder: as the options say, else where it was started last."""
    return address(settings) if settings.model_fields_set & {"host", "port"} else _started(settings, "address")


def _people_address(settings: ServerSettings) -> str:
    """The address for links: as the options say, else as the server of this folder was started last."""
    if settings.model_fields_set & {"host", "port", "public_url"}:
        return _url(settings)
    return _started(settings, "url")


def _started(settings: ServerSettings, what: str) -> str:
    note = settings.folder / STARTED
    found = read_json(note).get(what) if note.is_file() else None
    return str(found) if found else _url(settings)


def address(settings: ServerSettings) -> str:
    """The server's address as other machines write it: this machine's name where it listens on all addresses."""
    host = socket.gethostname() if settings.host in EVERY_ADDRESS else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def default_folder() -> Path:
    """Where a server keeps its data if nobody says otherwise."""
    return Path.home() / ".local" / "share" / "fedflow-server"


def _as_option(fault: str, key: tuple[int | str, ...]) -> str:
    """The fault with the option in front that was given wrongly."""
    if not key:
        return fault
    return f"--{str(key[0]).replace('_', '-')}: {fault.removeprefix(f'{key[0]}: ')}"


def run_worker(settings: ServerSettings, pool: Pool) -> None:
    """One worker, until it is told to end."""
    set_up_logs()
    work(open_to_serve(settings), settings, pool)


def renew_token(settings: ServerSettings) -> None:
    """Make a new coordinator's token in the place of all before; a server that runs takes it at once."""
    tokens.renew_first(open_existing(settings))
    print(f"A new token is in {settings.folder.absolute() / identity.TOKEN_FILE}; those before it are worth nothing.")


def print_password_link(settings: ServerSettings, email: str) -> None:
    """Print a link to set a password for who signs in with `email`. Raises NotFound."""
    store = open_existing(settings)
    code = links.make(store, identity.SERVER, directory.person_of(store, email), "password")
    print(f"{_people_address(settings)}/password/{code}")


def verify_audit(settings: ServerSettings) -> bool:
    """Look at the audit log's chain and print what is wrong with it; True where nothing is."""
    found = audit_looks.verify(open_existing(settings))
    for fault in found.faults:
        print(fault)
    if not found.faults:
        print(f"{found.entries} entries, each as it was written. The last hash is {found.head or 'none'}.")
        print("Note it where nobody of this server can write, and compare: the chain that ends with it is the same.")
    return not found.faults


def back_up(settings: ServerSettings, target: Path) -> None:
    """Write the server's whole state to a file and say what is in it."""
    done = backup.back_up(settings, target)
    print(f"{target}: {done.rows:,} rows and {done.files:,} files, {size_text(done.size_bytes)}.")
    print("It holds the server's secrets and everybody's data: keep it as safe as the server itself.")
    if keys.place(settings.folder) == keys.VARIABLE:
        print(f"{keys.VARIABLE} is not in it, and without that nobody restores this server: keep it in another place.")


def restore(settings: ServerSettings, source: Path) -> None:
    """Make a server of a back-up and say how to start it."""
    done = backup.restore(settings, source)
    print(f"{done.rows:,} rows and {done.files:,} files are back in {settings.folder.absolute()}.")
    open_to_serve(settings).engine.dispose()  # a key that is not this server's is told now
    where = "" if settings.folder == default_folder() else f" --folder {settings.folder.absolute()}"
    print(f"Start it: fedflow server{where}{''.join(f' {option} …' for option in settings.url_options)}")


def migrate(settings: ServerSettings) -> None:
    """Bring the database to this version's schema. Raises MistakeError where there is none, DatabaseAway."""
    refuse_unfinished(settings.folder)
    if settings.database_url is None and not (settings.folder / schema.IN_FOLDER).is_file():
        raise MistakeError(f"{settings.folder}: holds no database; give the server's --folder or its --database-url")
    engine = make_engine(settings.url)
    try:
        with away.in_our_words(engine):
            schema.upgrade(engine)
    finally:
        engine.dispose()
    print(f"The database has the schema of FedFlow {__version__}.")
