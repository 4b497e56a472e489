"""Objects of an S3-compatible store, by their keys.

The library is obstore: its memory is a third of s3fs's, which would not fit into the web process, and it holds no lock
of the interpreter while bytes travel. Its threads do not live through a fork: a process that forks uses it afterwards.
Credentials and endpoint come from the usual variables (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) or the machine's role.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from fedflow.errors import MistakeError, StorageError, StoreAway

URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*/?")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
PART_BYTES = 8 * 1024 * 1024
"""A request carries no more: what many requests hold in memory is bounded, and none lasts long."""

PARTS_AT_ONCE = 2
REQUEST_TIMEOUT, CONNECT_TIMEOUT = "60s", "5s"
MOST_RETRIES, RETRY_S = 4, 15
READY = "ready"


@dataclass(frozen=True)
class Object:
    """An object that is there; `changed_at` in seconds since 1970, by the store's clock."""

    key: str
    size_bytes: int
    changed_at: float


class Objects:
    """The objects under `s3://BUCKET/PREFIX`. What was put is durable when the call returns.

    All raise StoreAway where the store does not answer, StorageError where it refuses.
    """

    def __init__(self, url: str) -> None:
        """Nothing is asked yet. Raises MistakeError where the library is not installed."""
        self.url = url.rstrip("/")
        self._store, self._api, self._errors = _connected(self.url)

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, bytes or a file; an older one of this key is replaced when all has arrived."""
        with self._in_our_words(key):
            self._api.put(self._store, key, content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def size(self, key: str) -> int | None:
        """An object's bytes; None where it is not there."""
        with self._in_our_words(key):
            try:
                return int(self._api.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def fetch(self, key: str, file: BinaryIO) -> str:
        """Write an object's content to `file` and return its SHA-256. Raises StorageError where it is not there."""
        size_bytes = self.size(key)
        if size_bytes is None:
            raise StorageError(f"{self.url}/{key}: is not there; run the step that writes it again")
        digest = hashlib.sha256()
        for start in range(0, size_bytes, PART_BYTES):
            part = self.part(key, start, min(PART_BYTES, size_bytes - start))
            digest.update(part)
            file.write(part)
        return digest.hexdigest()

    def part(self, key: str, start: int, length: int) -> bytes:
        """So many bytes of an object, fewer at its end."""
        with self._in_our_words(key):
            return bytes(self._api.get_range(self._store, key, start=start, length=length))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is no fault."""
        wanted = list(keys)
        if wanted:
            with self._in_our_words(wanted[0]):
                self._api.delete(self._store, wanted)

    def listed(self, prefix: str) -> Iterator[Object]:
        """All objects whose keys begin with `prefix` and a slash."""
        with self._in_our_words(prefix):
            for page in self._api.list(self._store, prefix):
                for each in page:
                    yield Object(each["path"], each["size"], each["last_modified"].timestamp())

    def check(self) -> None:
        """Raise StorageError where nothing can be written."""
        self.put(READY, str(time.time()).encode())

    @contextmanager
    def _in_our_words(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(f"{self.url}: the bucket or '{key}' is not there; check --store-url") from error
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            raise StorageError(
                f"{self.url}: access is refused ({_first_line(error)}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                "and the bucket's rights"
            ) from error
        except self._errors.BaseError as error:
            raise StoreAway(
                f"{self.url}: the store does not answer ({_first_line(error)}); start it, or check AWS_ENDPOINT_URL"
            ) from error


def _connected(url: str) -> tuple[Any, Any, Any]:
    if not URL.fullmatch(url):
        raise MistakeError(f"--store-url {url}: give s3://BUCKET or s3://BUCKET/PREFIX")
    try:
        api, stores = import_module("obstore"), import_module("obstore.store")
        errors = import_module("obstore.exceptions")
    except ImportError as error:
        raise MistakeError(f"--store-url: '{error.name}' is not installed; run: pip install obstore") from None
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    options = {"timeout": REQUEST_TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    if endpoint is not None and endpoint.startswith("http://"):
        options["allow_http"] = True  # type: ignore[assignment]
    store = stores.S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=endpoint,
        client_options=options,
        retry_config={"max_retries": MOST_RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
    )
    return store, api, errors


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(": <?xml")[0]
