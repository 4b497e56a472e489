"""A small OpenID provider on this machine: discovery, keys, authorization code flow with PKCE, signed tokens.

Its `person` is who is signed in there. `claims` go over what it would say; `sign` may make another token of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "fedflow", "a-secret-of-the-two"
BASIC = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
LIFE_S = 300


@cache
def rsa_key(kid: str) -> RSAKey:
    """A key of this name; made once, as that takes a while."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@dataclass
class Provider:
    """What the provider knows, and who asked it for what."""

    clock: Callable[[], float]
    issuer: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: rsa_key("first"))
    claims: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_down: bool = False

    def about(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.metadata,
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes back to, with a code that counts once."""
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and content of the answer to who brings a code."""
        if authorization != f"Basic {BASIC}":
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(asked.get("code", ""), None)
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or begun["code_challenge"] != challenge or begun["redirect_uri"] != asked.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        now = int(self.clock())
        told = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + LIFE_S, "nonce": begun["nonce"]}
        told |= self.person | self.claims
        text = self.sign(told) if self.sign else self.signed(told)
        return 200, {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "id_token": text}

    def signed(self, claims: dict[str, Any], key: RSAKey | None = None) -> str:
        """A token, signed with the provider's key or another."""
        used = key or self.key
        return jwt.encode({"alg": "RS256", "kid": used.kid}, claims, used)


@contextmanager
def openid_provider(clock: Callable[[], float]) -> Iterator[Provider]:
    """A provider that answers until the context ends."""
    provider = Provider(clock)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, dict(_flat(urlsplit(self.path).query))
            provider.asked.append(path)
            if provider.is_down:
                self._say(500, {"error": "server_error"})
            elif path == "/.well-known/openid-configuration":
                self._say(200, provider.about())
            elif path == "/keys":
                self._say(200, {"keys": [provider.key.as_dict(private=False)]})
            elif path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._say(404, {})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            provider.asked.append(self.path)
            self._say(*provider.token(dict(_flat(sent)), self.headers.get("Authorization", "")))

        def _say(self, status: int, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


def _flat(query: str) -> Iterator[tuple[str, str]]:
    for name, values in parse_qs(query).items():
        yield name, values[-1]
