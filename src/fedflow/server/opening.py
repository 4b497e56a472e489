"""A store opened to serve it: beside others that serve it too, on this machine or on another one."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from fedflow.errors import MistakeError
from fedflow.server import keys
from fedflow.server.database import away, schema
from fedflow.server.database.engines import make_engine
from fedflow.server.services import audit
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store, refuse_unfinished


def open_to_serve(settings: ServerSettings) -> Store:
    """As `open_store`; raises MistakeError, too, where this machine's key is not the one that the others have.

    What one machine seals, signs or encrypts would be nothing to the others. No key is made where one is missing.
    """
    store = open_store(settings)
    folder = store.folder
    try:
        if audit.is_sealed(store) and not (keys.is_there(folder) and audit.is_sealed(store, store.key("audit"))):
            raise MistakeError(f"{keys.place(folder)}: is not the key of this database's server; {_way_out(store)}")
    except BaseException:
        store.engine.dispose()
        raise
    return store


def open_existing(settings: ServerSettings) -> Store:
    """As `open_to_serve`, for a command that asks about a server: raises MistakeError where there is none."""
    refuse_nothing(settings)
    return open_to_serve(settings)


def refuse_nothing(settings: ServerSettings) -> None:
    """Raise MistakeError where the settings lead to no server: a mistyped folder would be an empty server by now.

    Raises DatabaseAway.
    """
    refuse_unfinished(settings.folder)
    there = settings.folder.is_dir()
    if there and settings.database_url is None:
        there = (settings.folder / schema.IN_FOLDER).is_file()
    elif there:
        engine = make_engine(settings.url)
        try:
            with away.in_our_words(engine):
                there = schema.is_there(engine)
        finally:
            engine.dispose()
    if not there:
        raise MistakeError(
            f"{settings.folder}: holds no server; give the --folder and --database-url that it runs with"
        )


def _way_out(store: Store) -> str:
    """Servers with a folder each may share a database only where their files are in an S3-compatible store."""
    if store.objects is not None:
        return f"copy the first server's {keys.FILE} there, or give its content as {keys.VARIABLE}"
    return (
        f"give the --folder that belongs to this database (and {keys.VARIABLE} if its server was started with one), or "
        "a database of its own"
    )


def try_store(settings: ServerSettings) -> None:
    """Open the store in a process of its own, and raise what is wrong with it, as `open_to_serve` does.

    For who forks afterwards: neither connections nor a library's threads live through that.
    """
    with ProcessPoolExecutor(1, get_context("fork")) as once:
        once.submit(_open_and_close, settings).result()


def _open_and_close(settings: ServerSettings) -> None:
    open_to_serve(settings).engine.dispose()
