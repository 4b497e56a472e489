"""Where a released file comes from, signed: an in-toto statement with SLSA provenance in a DSSE envelope.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
https://slsa.dev/spec/v1.0/provenance
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedflow.errors import MistakeError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
CONTENT_DIGEST = "fedflowContent"
"""A model's content hash among digests: over its tensors in float32, its schedule and vocabulary, and no file's."""

BUILD = "urn:fedflow:federated-training:1"
"""What kind of making this was: the plan is its parameters, base model and parent are what it was made from."""


def statement(
    subjects: Mapping[str, str],
    *,
    plan: Mapping[str, Any] | None,
    materials: Mapping[str, tuple[str, str]],
    builder: str,
    run: str | None,
    finished: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What is said of files.

    Args:
        subjects: SHA-256 by the file's name.
        plan: the run's plan; None for what no run made.
        materials: by what it was made from (base model, version before) the digest's sort and the digest.
        builder: the server that says so.
        run: the run's identifier.
        finished: when it was made, ISO 8601.
        facts: rounds, members, examples and the like, as far as those concerned agreed to show them.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"plan": plan},
                "internalParameters": dict(facts),
                "resolvedDependencies": [
                    {"name": name, "digest": {sort: digest}} for name, (sort, digest) in materials.items()
                ],
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {"invocationId": run, "finishedOn": finished},
            },
        },
    }


def signed(said: Mapping[str, Any], secret: bytes) -> bytes:
    """The statement in its envelope, signed with the Ed25519 key of 32 `secret` bytes."""
    key = Ed25519PrivateKey.from_private_bytes(secret)
    payload = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    signature = {"keyid": key_id(key.public_key().public_bytes_raw()), "sig": _text(key.sign(_authenticated(payload)))}
    envelope = {"payloadType": PAYLOAD, "payload": _text(payload), "signatures": [signature]}
    return json.dumps(envelope, indent=1).encode() + b"\n"


def public_key(secret: bytes) -> bytes:
    """The 32 bytes that others verify with."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def key_id(public: bytes) -> str:
    """What a public key is known by: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public).hexdigest()


def opened(envelope: bytes, public: bytes) -> dict[str, Any]:
    """The statement in an envelope that the owner of `public` has signed. Raises MistakeError for any other."""
    try:
        content = json.loads(envelope)
        payload = base64.b64decode(content["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in content["signatures"]]
        kind = content["payloadType"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise MistakeError("the provenance is no signed statement; download it again") from None
    if kind != PAYLOAD or not any(_is_by(public, signature, payload) for signature in signatures):
        raise MistakeError("the provenance is not signed by this key; it was altered, or is another server's")
    said: dict[str, Any] = json.loads(payload)
    return said


def is_about(said: Mapping[str, Any], sha256: str) -> bool:
    """Whether a statement is about the file of this SHA-256."""
    return any(subject.get("digest", {}).get("sha256") == sha256 for subject in said.get("subject", ()))


def _authenticated(payload: bytes) -> bytes:
    """What is signed: type and payload, each behind its length (DSSE's PAE), so that neither can pass for the other."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _is_by(public: bytes, signature: bytes, payload: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _authenticated(payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
