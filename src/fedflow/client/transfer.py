"""Bytes between a participant and the server: a cut costs what was in flight, and a restart goes on where it was.

Downloads go by Range into `<target>.part`; uploads by tus (https://tus.io/protocols/resumable-upload) with a small
file beside the content that remembers where it goes. Both try again, with exponential back-off and full jitter, until
nothing has moved for `Patience.give_up_s`.
"""

from __future__ import annotations

import os
import random
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from pydantic import ValidationError

from fedflow.errors import RunError, StorageError
from fedflow.federation.protocol import Problem
from fedflow.storage import read_json, sha256_file, write_json

CHUNK_BYTES = 256 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
LONGEST_RETRY_AFTER_S = 300.0
ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
OFFSET_TYPE = "application/offset+octet-stream"

Progress = Callable[[int, int], None]
"""Is told the bytes that are over, and the bytes there are."""

Trouble = Callable[[str], None]
"""Is told why nothing comes through, from the second failure in a row on."""


@dataclass(frozen=True)
class Patience:
    """How long a transfer goes on trying: pauses from `first_s`, doubled up to `longest_s`, each by a random share.

    `give_up_s` counts from the last moment at which a byte moved on. The longest pause is what a server that was away
    and is back may have to wait for its participants.
    """

    first_s: float = 0.5
    longest_s: float = 15.0
    give_up_s: float = 600.0


class TransferError(RunError):
    """A transfer that failed for good; `status` is the server's answer, None where none came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def download(
    client: httpx.Client,
    url: str,
    digest: str,
    target: Path,
    progress: Progress | None = None,
    patience: Patience = Patience(),
    trouble: Trouble = lambda _reason: None,
) -> None:
    """Fetch `url` into `target`, which is there only when it is whole and its SHA-256 is `digest`.

    What a cut or a restart left in `<target>.part` is gone on with. `trouble` is told why it is tried again.

    Raises:
        TransferError: the server refuses, sends other content, or nothing moved for too long.
        StorageError: the disk is full or broken.
    """
    if target.is_file() and sha256_file(target) == digest:
        return
    part = target.with_name(f"{target.name}.part")
    tries = _Tries(f"download of {target.name}", patience, trouble)
    with _disk(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    clean = part.stat().st_size == 0
    while True:
        while not _fetch(client, url, digest, part, progress, tries):
            tries.pause()
        if sha256_file(part) == digest:
            break
        with _disk(part):
            part.write_bytes(b"")
        if clean:
            raise TransferError(f"{url}: the server sent other content than it announced; tell the coordinator")
        clean = True  # the earlier part may have been damaged: once more from the start
    with _disk(target), part.open("rb") as file:
        os.fsync(file.fileno())
        part.replace(target)


def upload(
    client: httpx.Client,
    uploads_url: str,
    path: Path,
    metadata: Mapping[str, str],
    progress: Progress | None = None,
    patience: Patience = Patience(),
    trouble: Trouble = lambda _reason: None,
) -> str:
    """Send the file to the server and return its upload's id; the same file again goes on with the same upload.

    `<path>.upload` remembers the upload until `forget` is called, so that a restarted process knows it. The bytes go
    in one request where nothing cuts it; the server checks their SHA-256 when they are handed in. `trouble` is told why
    it is tried again.

    Raises:
        TransferError: the server refuses, or nothing moved for too long.
        StorageError: the file cannot be read, or the disk is full.
    """
    with _disk(path):
        size_bytes = path.stat().st_size
    tries = _Tries(f"upload of {path.name}", patience, trouble)
    while True:
        location = _remembered(path, uploads_url, size_bytes)
        if location is None:
            location = _create(client, uploads_url, size_bytes, metadata, tries)
            write_json(_state_file(path), {"at": uploads_url, "location": location, "size_bytes": size_bytes})
        if _send(client, location, path, size_bytes, progress, tries):
            return location.rstrip("/").rpartition("/")[2]
        forget(path)


def forget(path: Path) -> None:
    """Drop what is remembered of an upload of `path`: it was handed in, or is to be sent anew."""
    _state_file(path).unlink(missing_ok=True)


def abandon(client: httpx.Client, path: Path) -> None:
    """Forget an upload of `path`, and tell the server that nobody wants it. One that is not told so expires there."""
    location = read_json(_state_file(path)).get("location") if _state_file(path).is_file() else None
    forget(path)
    if location is not None:
        with suppress(httpx.HTTPError):
            client.delete(str(location), headers=TUS)


class _Tries:
    """How long there is patience yet, and how long to pause before the next try."""

    def __init__(self, what: str, patience: Patience, trouble: Trouble) -> None:
        self.what = what
        self.patience = patience
        self.trouble = trouble
        self.failures = 0
        self.reason = "it has not begun"
        self.moved_at = time.monotonic()
        self.asked_s = 0.0

    def moved(self) -> None:
        """Bytes have arrived: patience begins anew."""
        self.failures = 0
        self.moved_at = time.monotonic()

    def failed(self, reason: str, asked_s: float = 0.0) -> None:
        """Note why the last try failed, and how long the server asked to wait."""
        self.reason = reason
        self.asked_s = asked_s

    def pause(self) -> None:
        """Wait, or raise TransferError where patience is at its end."""
        patience = self.patience
        longest = min(patience.longest_s, patience.first_s * 2.0 ** min(self.failures, 30))
        pause_s = max(random.uniform(0.0, longest), min(self.asked_s, patience.longest_s))
        self.failures += 1
        waited_s = time.monotonic() - self.moved_at
        if waited_s + pause_s > patience.give_up_s:
            raise TransferError(f"{self.what}: no byte moved for {waited_s:.0f} s ({self.reason}); try again later")
        if self.failures > 1:
            self.trouble(f"nothing comes through to the server ({self.reason})")
        time.sleep(pause_s)


def _fetch(client: httpx.Client, url: str, digest: str, part: Path, progress: Progress | None, tries: _Tries) -> bool:
    """One request for what `part` lacks. Returns whether the content has come to its end."""
    have = part.stat().st_size
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{digest}"'}
    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return True  # nothing lies beyond what is here; the hash tells whether it is right
            if not _answered(response, tries, 200, 206):
                return False
            partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise TransferError(f"{url}: the server sent another range than was asked for; tell the coordinator")
            begin = have if partial else 0
            total = begin + int(response.headers.get("Content-Length", 0))
            with _disk(part), part.open("r+b") as file:
                file.truncate(begin)
                file.seek(begin)
                for chunk in response.iter_raw():  # as it comes: a cut loses what waits for a larger piece
                    file.write(chunk)
                    tries.moved()
                    if progress is not None:
                        progress(file.tell(), total)
            return True
    except httpx.RequestError as error:
        tries.failed(why(error))
        return False


def _create(client: httpx.Client, uploads_url: str, size_bytes: int, metadata: Mapping[str, str], tries: _Tries) -> str:
    """A new upload at the server: its URL."""
    pairs = (f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    headers = {**TUS, "Upload-Length": str(size_bytes)}
    if metadata:
        headers["Upload-Metadata"] = ",".join(pairs)
    while True:
        try:
            response = client.post(uploads_url, headers=headers)
            if _answered(response, tries, 201):
                break
        except httpx.RequestError as error:
            tries.failed(why(error))
        tries.pause()
    asked = response.request.url
    location = asked.join(response.headers.get("Location", ""))
    # The token goes along with the bytes: to nobody but the server that was asked.
    same_server = (location.scheme, location.host, location.port) == (asked.scheme, asked.host, asked.port)
    if not same_server or not location.path.startswith(f"{asked.path.rstrip('/')}/"):
        raise TransferError(f"{uploads_url}: the server sends the upload elsewhere ({location}); tell the coordinator")
    return str(location)


def _send(
    client: httpx.Client, location: str, path: Path, size_bytes: int, progress: Progress | None, tries: _Tries
) -> bool:
    """Bring an upload to its end. Returns False where the server no longer knows it."""
    best = -1
    while True:
        try:
            response = client.head(location, headers=TUS)
            if response.status_code in (404, 410):
                return False
            if _answered(response, tries, 200, 204):
                offset = _offset(response, path)
                if offset > best:
                    best = offset
                    tries.moved()
                if offset == size_bytes:
                    return True
                rest = _Rest(path, offset, size_bytes, progress)
                headers = {
                    **TUS,
                    "Upload-Offset": str(offset),
                    "Content-Type": OFFSET_TYPE,
                    "Content-Length": str(size_bytes - offset),
                }
                answer = client.patch(location, content=rest, headers=headers)
                if answer.status_code in (404, 410):
                    return False
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    tries.failed("the token has run out")  # the next HEAD gets another, or is refused for good
                elif _answered(answer, tries, 204) and answer.headers.get("Upload-Offset") == str(size_bytes):
                    return True
        except httpx.RequestError as error:
            tries.failed(why(error))
        tries.pause()


class _Rest:
    """A file from an offset on, as a request's body; iterating again begins again, as a second try needs it."""

    def __init__(self, path: Path, offset: int, size_bytes: int, progress: Progress | None) -> None:
        self.path = path
        self.offset = offset
        self.size_bytes = size_bytes
        self.progress = progress

    def __iter__(self) -> Iterator[bytes]:
        with _disk(self.path), self.path.open("rb") as file:
            file.seek(self.offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                if self.progress is not None:
                    self.progress(file.tell(), self.size_bytes)


def _answered(response: httpx.Response, tries: _Tries, *wanted: int) -> bool:
    """Whether the answer is a `wanted` one; False where it is worth another try.

    Raises TransferError, with the server's own sentence, for an answer that will be the same again; without a status
    where it is no FedFlow server's, but a proxy's or a sign-in page's.
    """
    if response.status_code in wanted:
        return True
    response.read()
    status: int | None = response.status_code
    try:
        sentence = Problem.model_validate_json(response.content).error.message
    except ValidationError:
        sentence = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
        if response.request.method != "HEAD" or status not in (404, 410):  # an upload that is gone; HEAD has no content
            status = None
    # Cut off, another offset, another request still at it, too many, and faults of the server.
    if response.status_code in (408, 409, 423, 425, 429) or response.status_code >= 500:
        tries.failed(sentence, retry_after_s(response))
        return False
    raise TransferError(f"{tries.what}: {sentence}", status)


def _offset(response: httpx.Response, path: Path) -> int:
    text = response.headers.get("Upload-Offset", "")
    if not text.isdecimal():
        raise TransferError(f"upload of {path.name}: the answer names no offset; does a proxy answer for the server?")
    return int(text)


def retry_after_s(response: httpx.Response) -> float:
    """Seconds that the server asks for, by its own clock where it names a date; 0 where it names none."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER_S)
    try:
        asked = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, TypeError):  # no date, or one of the two without a zone
        return 0.0
    return min(max(0.0, asked.total_seconds()), LONGEST_RETRY_AFTER_S)


def _remembered(path: Path, uploads_url: str, size_bytes: int) -> str | None:
    """The URL of the upload that an earlier process began for this file at this server."""
    state = _state_file(path)
    if not state.is_file():
        return None
    content = read_json(state)
    if (content.get("at"), content.get("size_bytes")) != (uploads_url, size_bytes):
        return None
    return str(content["location"])


def _state_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.upload")


def why(error: httpx.RequestError) -> str:
    """What the network says of it, without the numbers of its errors."""
    return ERROR_NUMBER.sub("", str(error)) or type(error).__name__


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"{path}: cannot be read or written ({why}); check the disk and start again") from error
