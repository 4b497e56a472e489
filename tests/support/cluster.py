"""A throw-away PostgreSQL cluster, for tests and benchmarks."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, text


class NoPostgreSQL(Exception):  # noqa: N818 - what is the matter
    """PostgreSQL's server is not installed here; the message says what to do."""


class Cluster:
    """A cluster that runs when it is made and may be stopped and started; `url` has `{name}` for a database's name."""

    def __init__(self, *, durable: bool = False) -> None:
        """Without `durable` nothing is brought to the disk, which is quicker. Raises NoPostgreSQL."""
        self._binaries = _binaries()
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._home = Path(tempfile.mkdtemp(prefix="fedflow-pg-"))
        self._fsync = "on" if durable else "off"
        self.url = f"postgresql+psycopg://fedflow@/{{name}}?host={self._home}"
        if self._user is not None:
            os.chown(self._home, pwd.getpwnam(self._user).pw_uid, -1)
        self._call("initdb", "--username=fedflow", "--auth=trust", "--no-sync", "-D", self._home / "data")
        self.start()

    def start(self) -> None:
        """Let it answer, as after a crash where it was stopped."""
        options = f"-c fsync={self._fsync} -c listen_addresses='' -c unix_socket_directories='{self._home}'"
        self._call("pg_ctl", "start", "-w", "-D", self._home / "data", "-l", self._home / "log", "-o", options)

    def stop(self) -> None:
        """End it at once."""
        self._call("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._home / "data")

    def remove(self) -> None:
        """End it, where it runs, and drop its files."""
        with suppress(subprocess.CalledProcessError):  # stopped already
            self.stop()
        shutil.rmtree(self._home)

    def _call(self, program: str, *words: str | Path) -> None:
        subprocess.run(
            [self._binaries / program, *words],
            user=self._user,
            cwd=self._home,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster that lives as long as the context; gives its URL. Raises NoPostgreSQL."""
    made = Cluster()
    try:
        yield made.url
    finally:
        made.remove()


@contextmanager
def database(url: str, name: str, template: str = "template1") -> Iterator[str]:
    """A database of the cluster at `url`, dropped at the end with whoever is still connected; gives its URL.

    It is empty, or a copy of the database `template`, to which nobody may be connected.
    """
    admin = create_engine(url.format(name="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
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
