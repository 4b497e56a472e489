"""`fedflow verify`: whether a file is the one that a server released, and where it comes from."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from fedflow.errors import MistakeError
from fedflow.federation.provenance import is_about, key_id, opened
from fedflow.storage import sha256_file

KEY_BYTES = 32


def verify(file: Path, provenance: Path, key: str) -> None:
    """Print what the provenance says of the file.

    `key` is the server's public key in base64, from a source that one trusts: who gives file, provenance and key all
    three has proved nothing. Raises MistakeError where one of them is not what it should be.
    """
    try:
        public = base64.b64decode(key.strip(), validate=True)
    except (binascii.Error, ValueError):
        public = b""
    if len(public) != KEY_BYTES:
        raise MistakeError("--key: is no public key; give the 'public_key' of the server's /api/v1/keys/releases")
    try:
        envelope = provenance.read_bytes()
    except OSError as error:
        raise MistakeError(f"{provenance}: cannot be read ({error.strerror}); check the path") from None
    if not file.is_file():
        raise MistakeError(f"{file}: no such file; give the released file")
    said = opened(envelope, public)
    sha256 = sha256_file(file)
    if not is_about(said, sha256):
        names = ", ".join(str(subject.get("name")) for subject in said.get("subject", ()))
        raise MistakeError(f"{file}: is none of the files that this provenance is about ({names}); SHA-256 {sha256}")
    for line in _lines(said):
        print(line)
    known_as = _name_of(said, sha256)
    if known_as != file.name:
        print(f"It was released as {known_as}: another release of the same model would carry another name.")
    print(f"{file} is as released: SHA-256 {sha256}, signed by the key {key_id(public)[:16]}.")


def _name_of(said: dict[str, Any], sha256: str) -> str:
    """What the released file of this hash is called, in which its tag stands."""
    found = (subject["name"] for subject in said["subject"] if subject["digest"]["sha256"] == sha256)
    name = str(next(found))
    return name if name.isprintable() else ascii(name)


def _lines(said: dict[str, Any]) -> list[str]:
    predicate = said["predicate"]
    definition, details = predicate["buildDefinition"], predicate["runDetails"]
    facts = definition["internalParameters"]
    lines = []
    if facts.get("round"):
        lines.append(f"Round {facts['round']} of run {details['metadata']['invocationId']}, {_finished(details)}")
        on = "" if facts["examples"] is None else f" on {facts['examples']} pictures"
        lines.append(f"Trained by {facts['members']} members{on}")
    for each in definition["resolvedDependencies"]:
        [(sort, digest)] = each["digest"].items()
        known = "SHA-256" if sort == "sha256" else "content hash, as 'fedflow' and the server's pages name it"
        lines.append(f"Made from {each['name']}: {digest} ({known})")
    if facts.get("licence"):
        lines.append(f"Licence: {facts['licence']}")
    if facts.get("trigger_words"):
        lines.append(f"Trigger words: {', '.join(facts['trigger_words'])}")
    return [line if line.isprintable() else ascii(line) for line in lines]


def _finished(details: dict[str, Any]) -> str:
    return f"finished {details['metadata']['finishedOn']}"
