"""The OpenID provider that people may sign in with: where it is sent to, and what it says of who comes back.

Authorization code flow with PKCE (RFC 7636), state and nonce (OpenID Connect Core 3.1), by Authlib. Authlib is imported
with the first sign-in: a server without a provider needs it not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fedflow.errors import MistakeError
from fedflow.server.errors import Forbidden, Unavailable
from fedflow.server.settings import is_guarded

SCOPE = "openid email profile"
SIGNED_WITH = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures that only the provider can make: 'none' and those by a shared secret are not among them."""

PATIENCE_S = 5.0
KEPT_S = 3600.0
"""How long what the provider says of itself is used without asking it again; an unknown key asks at once."""

LEEWAY_S = 60
SUBJECT = "sub"
LONGEST, LONGEST_TOLD = 255, 60
NO_ANSWER = "the sign-in provider does not answer as it should; try again in a moment, or sign in another way"
NOT_TAKEN = "the sign-in provider's answer does not hold; begin the sign-in again"

log = logging.getLogger("fedflow.server")


@dataclass(frozen=True)
class Provider:
    """A provider, and what it knows this server as."""

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str


@dataclass(frozen=True)
class Claims:
    """Whom the provider has seen. `email` is there only where it says that it has confirmed the address."""

    issuer: str
    subject: str
    email: str | None
    name: str


@dataclass(frozen=True)
class _Known:
    metadata: dict[str, Any]
    keys: dict[str, Any]
    at: float


_known: dict[str, _Known] = {}
_asking = threading.Lock()


def address(provider: Provider, state: str, nonce: str, verifier: str) -> str:
    """Where a browser is sent to. Raises Unavailable where the provider does not answer."""
    client = _client(provider)
    endpoint = _about(provider, client).metadata["authorization_endpoint"]
    url: str = client.create_authorization_url(endpoint, state=state, code_verifier=verifier, nonce=nonce)[0]
    return url


def claims(provider: Provider, code: str, nonce: str, verifier: str, now: float) -> Claims:
    """What the provider says of who came back with `code`, once its signature and every claim hold.

    Raises Forbidden where they do not, or the code is none of this sign-in; Unavailable where nothing sensible comes.
    """
    from authlib.integrations.base_client import OAuthError  # noqa: PLC0415
    from authlib.oidc.core import CodeIDToken  # noqa: PLC0415
    from joserfc.errors import InvalidClaimError, JoseError  # noqa: PLC0415

    client = _client(provider)
    about = _about(provider, client)
    try:
        token = _asked(
            lambda: client.fetch_token(
                about.metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier
            )
        )
    except OAuthError as error:
        raise _refused(provider, error) from None
    if not isinstance(token.get("id_token"), str):
        raise Unavailable(NO_ANSWER)
    told = {
        "iss": {"essential": True, "value": provider.issuer},
        "aud": {"essential": True, "value": provider.client_id},
    }
    try:
        header, content = _decoded(provider, client, about, token["id_token"])
        found = CodeIDToken(
            content,
            header,
            told,
            {"nonce": nonce, "client_id": provider.client_id, "access_token": token.get("access_token")},
        )
        found.validate(now=int(now), leeway=LEEWAY_S)
        subject = found[SUBJECT]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST:
            raise InvalidClaimError(SUBJECT)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _refused(provider, error) from None
    email, name = found.get("email"), found.get("name")
    confirmed = isinstance(email, str) and found.get("email_verified") is True
    return Claims(provider.issuer, subject, email if confirmed else None, name if isinstance(name, str) else "")


def check_installed() -> None:
    """Raise MistakeError where the library is missing that a provider needs."""
    if find_spec("authlib") is None:
        raise MistakeError("--oidc-issuer: 'authlib' is not installed; run: pip install authlib httpx2 joserfc")


def _client(provider: Provider) -> Any:
    from authlib.integrations.httpx_client import OAuth2Client  # noqa: PLC0415

    return OAuth2Client(
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        scope=SCOPE,
        redirect_uri=provider.redirect_uri,
        code_challenge_method="S256",
        timeout=PATIENCE_S,
    )


def _about(provider: Provider, client: Any, *, anew: bool = False) -> _Known:
    """What the provider says of itself, and the keys that it signs with."""
    with _asking:
        known = _known.get(provider.issuer)
        if known is not None and not anew and time.monotonic() - known.at < KEPT_S:
            return known
        metadata = _json(client, f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        named = [metadata.get(each) for each in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        are_guarded = all(isinstance(url, str) and is_guarded(url) for url in named)
        if metadata.get("issuer") != provider.issuer or not are_guarded:
            raise Unavailable(NO_ANSWER)
        known = _known[provider.issuer] = _Known(metadata, _json(client, metadata["jwks_uri"]), time.monotonic())
        return known


def _decoded(provider: Provider, client: Any, about: _Known, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and content of a token whose signature holds; keys that the provider has changed are fetched anew."""
    from joserfc import jwt  # noqa: PLC0415
    from joserfc.errors import InvalidKeyIdError  # noqa: PLC0415
    from joserfc.jwk import KeySet  # noqa: PLC0415
    from joserfc.jws import JWSRegistry  # noqa: PLC0415

    registry = JWSRegistry(algorithms=list(SIGNED_WITH), strict_check_header=False)
    try:
        token = jwt.decode(text, key=KeySet.import_key_set(about.keys), registry=registry)  # type: ignore[arg-type]
    except InvalidKeyIdError:
        keys = _about(provider, client, anew=True).keys
        token = jwt.decode(text, key=KeySet.import_key_set(keys), registry=registry)  # type: ignore[arg-type]
    return token.header, token.claims


def _json(client: Any, url: str) -> dict[str, Any]:
    def ask() -> Any:
        answer = client.request("GET", url, withhold_token=True)
        answer.raise_for_status()
        return answer.json()

    found = _asked(ask)
    if not isinstance(found, dict):
        raise Unavailable(NO_ANSWER)
    return found


def _refused(provider: Provider, error: Exception) -> Forbidden:
    """What the reader is told; the log says what did not hold: a clock, a secret or somebody's doing."""
    what = getattr(error, "claim", None) or getattr(error, "error", None) or ""  # of a token's claim, of the provider
    log.warning(
        "a sign-in by %s is refused: %s %s", provider.issuer, type(error).__name__, ascii(what)[1:-1][:LONGEST_TOLD]
    )
    return Forbidden(NOT_TAKEN)


def _asked(ask: Any) -> Any:
    """What the provider answers. Raises Unavailable where it does not, or with nothing that is JSON."""
    import httpx2  # noqa: PLC0415
    from authlib.integrations.base_client import OAuthError  # noqa: PLC0415

    try:
        return ask()
    except OAuthError:
        raise
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", "")
        log.warning("the sign-in provider does not answer as it should: %s %s", type(error).__name__, status)
        raise Unavailable(NO_ANSWER) from error
