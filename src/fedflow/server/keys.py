"""The server's own secret, and keys for single purposes that are derived from it."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedflow.errors import MistakeError, StorageError

FILE = "server.key"
VARIABLE = "FEDFLOW_SERVER_KEY"
KEY_BYTES = 32


@lru_cache(maxsize=32)
def derived(folder: Path, purpose: str) -> bytes:
    """32 bytes for one purpose, the same for all processes that serve `folder` or share FEDFLOW_SERVER_KEY.

    HKDF-SHA256 (RFC 5869). Raises StorageError where the secret cannot be read or made, MistakeError where it is none.
    """
    return HKDF(SHA256(), KEY_BYTES, None, f"fedflow {purpose}".encode()).derive(_secret(folder))


def place(folder: Path) -> str:
    """Where the secret is, or has to be."""
    return VARIABLE if os.environ.get(VARIABLE) else str(folder / FILE)


def is_there(folder: Path) -> bool:
    """Whether there is a secret; `derived` makes one where there is none."""
    return bool(os.environ.get(VARIABLE)) or (folder / FILE).is_file()


def _secret(folder: Path) -> bytes:
    given = os.environ.get(VARIABLE)
    if given:
        return _decoded(given, VARIABLE)
    path = folder / FILE
    try:
        if not path.is_file():
            _make(path)
        return _decoded(path.read_text(encoding="ascii", errors="replace"), str(path))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read or made ({error.strerror}); check the folder") from error


def _make(path: Path) -> None:
    """Another process may make it at the same time: the first one's stays."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def _decoded(text: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < KEY_BYTES:
        raise MistakeError(f"{where}: holds no {KEY_BYTES} bytes in base64; restore it from the back-up")
    return secret
