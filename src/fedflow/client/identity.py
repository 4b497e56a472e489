"""The device's own Ed25519 key: made on this machine, kept in one file, never sent."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedflow.errors import MistakeError, StorageError

OWNER_ALONE = 0o600
ANYBODY_ELSE = 0o077


class Identity:
    """A private key that signs; what others may know of it is the public key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> str:
        """32 bytes in base64."""
        return base64.b64encode(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def sign(self, content: bytes) -> str:
        """The Ed25519 signature of `content`, 64 bytes in base64."""
        return base64.b64encode(self._key.sign(content)).decode()


def open_identity(path: Path) -> Identity:
    """The key kept in `path`, in PEM; a new one where there is no such file, readable by its owner alone.

    Raises MistakeError for a file that others may read or that is no Ed25519 key, StorageError where it cannot be
    read or written.
    """
    try:
        if not path.exists():
            _write(path, Ed25519PrivateKey.generate())
        if stat.S_IMODE(path.stat().st_mode) & ANYBODY_ELSE:
            raise MistakeError(f"{path}: other users of this machine may read this key; run 'chmod 600 {path}'")
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: the device's key cannot be kept there ({error.strerror})") from None
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise MistakeError(f"{path}: is no Ed25519 key; restore it, or join with another --home and a new code")
    return Identity(key)


def _write(path: Path, key: Ed25519PrivateKey) -> None:
    """Whole or not there, and at no moment readable by others."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
