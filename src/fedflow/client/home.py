"""The participant's folder on this machine: what is where, and one process at a time.

device.key      the private key
device.json     where the device has joined, and as whom
base/<hash>/    base models by content hash
runs/<id>/      what a run has fetched and trained here, and the consent that was given
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedflow.client.identity import Identity, open_identity
from fedflow.errors import MistakeError, RunError, StorageError
from fedflow.storage import read_json, write_json

OWNER_ALONE = 0o700
FILE_NAME = re.compile(r"[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]{0,79}")
CONTENT_HASH = re.compile(r"[0-9a-f]{64}")


class Device(BaseModel):
    """Who this device is, as the server said when it joined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str = Field(description="The server's address, without a slash at the end.")
    device_id: str
    member: str = Field(pattern=f"^{FILE_NAME.pattern}$", description="The member's name, which names files here.")
    federation_id: str
    federation: str


class Home:
    """The layout of a participant's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder where it is not there, and hold it for this process.

        Raises:
            RunError: another process is at work there.
            StorageError: the folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ALONE)
            lock = (self.folder / ".lock").open("w", encoding="ascii")
        except OSError as error:
            raise StorageError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another folder with --home"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.folder}: another fedflow process takes part from here; stop it, or give another --home"
                ) from None
            for partial in self.folder.rglob("*.partial"):  # what a killed process was writing
                partial.unlink()
            yield

    def identity(self) -> Identity:
        """The device's key, made at the first call."""
        return open_identity(self.folder / "device.key")

    def device(self) -> Device | None:
        """Who this device is; None before it has joined. Raises StorageError where the file is damaged."""
        path = self._device_file
        if not path.is_file():
            return None
        try:
            return Device.model_validate(read_json(path))
        except ValidationError as error:
            fault = error.errors()[0]
            raise StorageError(
                f"{path}: is damaged ({'.'.join(map(str, fault['loc']))}: {fault['msg']}); "
                "restore it, or join with another --home and a new code"
            ) from None

    def keep(self, device: Device) -> None:
        """Write who this device is."""
        write_json(self._device_file, device.model_dump())

    def leave(self) -> None:
        """Put aside who this device was, and its key, as `device.key.left` and `device.json.left`.

        The key goes first: where this is cut off between the two, the next start is refused too and ends it.
        """
        for path in (self.folder / "device.key", self._device_file):
            if path.is_file():
                path.replace(path.with_name(f"{path.name}.left"))

    def base(self, content_hash: str) -> Path:
        """The folder of a base model. Raises RunError for what is no SHA-256."""
        if not CONTENT_HASH.fullmatch(content_hash):
            raise RunError(f"the server names a base model by {content_hash[:80]!r}, which is no SHA-256; refused")
        return self.folder / "base" / content_hash

    def run(self, run_id: str) -> Path:
        """The folder of a run. Raises RunError for an id that names no folder."""
        if not FILE_NAME.fullmatch(run_id):
            raise RunError(f"the server names a run {run_id[:80]!r}, which cannot name a folder; refused")
        return self.folder / "runs" / run_id

    def runs(self) -> list[str]:
        """Identifiers of the runs that the owner has agreed to, oldest first."""
        return sorted(path.parent.name for path in (self.folder / "runs").glob("*/consent.json"))

    @property
    def _device_file(self) -> Path:
        return self.folder / "device.json"


def homes_folder() -> Path:
    """Where homes are that nobody gave a place."""
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share") / "fedflow"


def default_home(server: str) -> Path:
    """The home for a server, by its name and port: known before the one-time code is used up."""
    parts = urlsplit(server)
    return homes_folder() / "-".join(str(part) for part in (parts.hostname, parts.port) if part)


def only_home() -> Path:
    """The one home that there is under the default folder. Raises MistakeError where there is none, or several."""
    root = homes_folder()
    homes = sorted(path.parent for path in root.glob("*/device.json"))
    if not homes:
        raise MistakeError(f"this machine has not joined a federation yet ({root}); give the server's URL and --code")
    if len(homes) > 1:
        names = ", ".join(str(home) for home in homes)
        raise MistakeError(f"this machine takes part in several federations; choose with --home: {names}")
    return homes[0]
