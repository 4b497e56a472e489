"""A throw-away PostgreSQL cluster, for tests and benchmarks."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text


class NoPostgreSQL(Exception):  # noqa: N818 - what is the matter
    """PostgreSQL's server is not installed here; the message says what to do."""


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster that lives as long as the context; gives its URL with `{name}` for the database's name.

    Raises NoPostgreSQL.
    """
    binaries = _binaries()
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    home = Path(tempfile.mkdtemp(prefix="fedflow-pg-"))
    if user is not None:
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)

    def call(*command: str | Path) -> None:
        subprocess.run(command, user=user, cwd=home, check=True, stdout=subprocess.DEVNULL, timeout=60)

    data = home / "data"
    call(binaries / "initdb", "--username=fedflow", "--auth=trust", "--no-sync", "-D", data)
    options = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories='{home}'"
    call(binaries / "pg_ctl", "start", "-w", "-D", data, "-l", home / "log", "-o", options)
    try:
        yield f"postgresql+psycopg://fedflow@/{{name}}?host={home}"
    finally:
        call(binaries / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data)
        shutil.rmtree(home)


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """An empty database of the cluster at `url`, dropped at the end with whoever is still connected; gives its URL."""
    admin = create_engine(url.format(name="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield url.format(name=name)
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        admin.dispose()


def _binaries() -> Path:
    """Where `initdb` is."""
    if shutil.which("pg_config") is not None:
        binaries = Path(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
        if (binaries / "initdb").is_file():
            return binaries
    raise NoPostgreSQL("PostgreSQL's server is not installed, or its pg_config is not on the PATH; install postgresql")
