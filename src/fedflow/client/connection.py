"""Talking to FedFlowServer as this device: tokens, and patience."""

from __future__ import annotations

import hashlib
import random
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import httpx
from pydantic import ValidationError

from fedflow import __version__
from fedflow.client.answers import Refused, error_of, fault, no_message, printable, unreachable
from fedflow.client.home import Device, Home
from fedflow.client.identity import Identity
from fedflow.client.leaving import NOTHING, About, Leaving, TakeBack, TellingClient, leaving
from fedflow.client.transfer import TransferError, abandon, download, retry_after_s, upload
from fedflow.errors import FedFlowError, MistakeError
from fedflow.federation.protocol import (
    API,
    PROTOCOL,
    PROTOCOL_HEADER,
    Artifacts,
    Challenged,
    ChallengeRequest,
    ConsentRequest,
    Joined,
    JoinRequest,
    Message,
    Rounds,
    RunFacts,
    Scores,
    SignInBegun,
    SignInQuestion,
    SignInRequest,
    SignInState,
    Token,
    TokenRequest,
    Told,
    UpdateAnswer,
    UpdateRequest,
    VersionLine,
    Versions,
    Work,
    signed_text,
)
from fedflow.plan import describe

M = TypeVar("M", bound=Message)

PATIENCE_S = 60.0
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0
PASSING = frozenset({429, 502, 503, 504})
TIMEOUTS = httpx.Timeout(connect=10.0, read=60.0, write=60.0, pool=60.0)
TOKEN_MARGIN_S = 30.0
CHALLENGES = 5
"""How many challenges are signed before a refusal counts: one is used up where the network sends its answer twice."""
SHUT_OUT = frozenset({401, 403, 404})
"""What a server answers to a device that was revoked, whose key it does not take, or that it does not know."""
MOST_LISTED = 20
"""Models or adapters of a server that are told at once."""


Sent = Callable[[Leaving], TakeBack]
"""Is told each request before it goes, and gives what takes it back."""


class Connection:
    """What this device asks of the server. One for each home; requests are repeated for `patience_s`.

    `on_trouble` is told why, where a request or a transfer has failed twice and is repeated.
    """

    def __init__(
        self,
        home: Home,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        tls: ssl.SSLContext | None = None,
        sent: Sent = lambda _leaving: lambda: None,
    ) -> None:
        """`tls` is another connection's, as reading the authorities' certificates takes a while; `sent` is told all."""
        self._home = home
        self._sent = sent
        self._about: About = NOTHING
        self._tls = tls or httpx.create_ssl_context()
        self._patience_s = patience_s
        self._sleep = sleep
        self._random = random.Random()
        self.on_trouble: Callable[[str], None] = lambda _reason: None
        headers = {PROTOCOL_HEADER: str(PROTOCOL), "User-Agent": f"fedflow/{__version__}"}
        self._client = TellingClient(self._tell, timeout=TIMEOUTS, headers=headers, verify=self._tls)
        device = home.device()
        if device is not None:
            self._speak_as(device)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def join(self, server: str, code: str, device_name: str, shows_counts: bool | None = None) -> Device:
        """Use up a one-time code, and keep who this device is.

        shows_counts: whether the member's name and picture counts are shown beyond the federation; None leaves that.

        Repeating it with the same code and the same key, as after a crash, is the same request to the server.
        """
        identity = self._home.identity()
        try:
            request = JoinRequest(
                code=code,
                device_name=device_name,
                public_key=identity.public_key,
                version=__version__,
                shows_counts=shows_counts,
            )
        except ValidationError as error:
            raise MistakeError(f"this cannot be joined with: {describe(error)}") from None
        once = hashlib.sha256(f"{code} {identity.public_key}".encode()).hexdigest()
        joined = self._call(Joined, "POST", f"{server}{API}/join", request, once)
        try:
            device = Device(server=server, **joined.model_dump())
        except ValidationError:
            raise MistakeError(
                f"the member's name {joined.member!r} cannot name a file; ask the coordinator for another name"
            ) from None
        self._home.keep(device)
        self._speak_as(device)
        return device

    def begin_sign_in(self, server: str, device_name: str) -> SignInBegun:
        """Have a person let this device in, on the server's page `sign_in_page`; the code of it joins then."""
        try:
            request = SignInRequest(device_name=device_name)
        except ValidationError as error:
            raise MistakeError(f"this cannot be joined with: {describe(error)}") from None
        return self._call(SignInBegun, "POST", f"{server}{API}/sign-ins", request)

    def sign_in_state(self, server: str, code: str) -> SignInState:
        """Whether the person has let this device in."""
        return self._call(SignInState, "POST", f"{server}{API}/sign-ins/state", SignInQuestion(code=code))

    def is_shut_out(self) -> bool:
        """Whether the server answers this device that it, or its member, was shut out. Raises Unavailable."""
        try:
            self.work()
        except Refused as error:
            if error.status in SHUT_OUT:
                return True
            raise
        return False

    def beside(self) -> Connection:
        """Another connection of this device, for another thread; it asks once."""
        return Connection(self._home, patience_s=0.0, tls=self._tls, sent=self._sent)

    @contextmanager
    def about(self, run: str, number: int | None = None) -> Iterator[None]:
        """What is sent within the context is for this run, and for this round where it is given."""
        before, self._about = self._about, (run, number)
        try:
            yield
        finally:
            self._about = before

    def leave(self) -> None:
        """Forget the federation that this device had joined, so that it can join anew."""
        self._home.leave()
        self._client.auth = httpx.Auth()

    def work(self, told: Iterable[Told] = ()) -> Work:
        """What to do now; `told` is what this device does with what it was given."""
        question = "&".join(f"doing={each}" for each in told)
        return self._call(Work, "GET", self._url(f"work?{question}" if question else "work"))

    def run(self, run_id: str) -> RunFacts:
        """A run's frozen plan and what belongs to it."""
        return self._call(RunFacts, "GET", self._url(f"runs/{run_id}"))

    def rounds(self, run_id: str) -> Rounds:
        """A run's rounds so far, as every member sees them."""
        return self._call(Rounds, "GET", self._url(f"runs/{run_id}/rounds?limit=200"))

    def scores(self, run_id: str) -> Scores:
        """Figures and galleries of a run's models, as far as they are taken and its members may see them."""
        return self._call(Scores, "GET", self._url(f"runs/{run_id}/scores"))

    def artifacts(self, kind: Literal["models", "adapters"]) -> Artifacts:
        """The federation's models or adapters that this device may see, newest first."""
        return self._call(Artifacts, "GET", self._url(f"{kind}?limit={MOST_LISTED}"))

    def versions(self, artifact_id: str) -> Versions:
        """Versions of a model or adapter, oldest first."""
        return self._call(Versions, "GET", self._url(f"artifacts/{artifact_id}/versions?limit=200"))

    def ask_files(self, version_id: str) -> VersionLine:
        """Have the server write a version's files where it has not yet; the version as it is now."""
        return self._call(VersionLine, "POST", self._url(f"versions/{version_id}/export"), once=uuid.uuid4().hex)

    def fetch_version(self, version_id: str, layout: str, sha256: str, target: Path) -> None:
        """Download a version's file in a layout into `target`, as `fetch`."""
        with _in_our_words():
            download(self._client, self._url(f"versions/{version_id}/files/{layout}"), sha256, target)

    def consent(self, run_id: str, accept: bool, num_examples: int, reason: str = "") -> None:
        """Tell the owner's answer to a run."""
        request = ConsentRequest(accept=accept, num_examples=num_examples, reason=reason)
        self._answer("POST", self._url(f"runs/{run_id}/consent"), request, uuid.uuid4().hex)

    def hand_in(self, run_id: str, round_number: int, request: UpdateRequest) -> UpdateAnswer:
        """Hand in an uploaded update for a round."""
        url = self._url(f"runs/{run_id}/rounds/{round_number}/updates")
        return self._call(UpdateAnswer, "POST", url, request, uuid.uuid4().hex)

    def fetch(self, sha256: str, target: Path) -> None:
        """Download content into `target`, checked; a download that was cut goes on where it was."""
        with _in_our_words():
            download(self._client, self._url(f"files/{sha256}"), sha256, target, trouble=self.on_trouble)

    def upload(self, path: Path, metadata: Mapping[str, str]) -> str:
        """Upload a file and return the upload's id; one that was cut goes on where it was."""
        with _in_our_words():
            return upload(self._client, self._url("uploads"), path, metadata, trouble=self.on_trouble)

    def abandon(self, path: Path) -> None:
        """Give up an upload that was begun or is complete; the server may drop it."""
        abandon(self._client, path)

    def _tell(self, request: httpx.Request) -> TakeBack:
        return self._sent(leaving(request, self._about))

    @property
    def _server(self) -> str:
        device = self._home.device()
        if device is None:
            raise MistakeError(f"{self._home.folder}: has not joined a federation; give the server's URL and --code")
        return device.server

    def _url(self, path: str) -> str:
        return f"{self._server}{API}/{path}"

    def _speak_as(self, device: Device) -> None:
        self._client.auth = DeviceAuth(device, self._home.identity())

    def _call(self, kind: type[M], method: str, url: str, body: Message | None = None, once: str | None = None) -> M:
        response = self._answer(method, url, body, once)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise no_message(url, kind) from None

    def _answer(self, method: str, url: str, body: Message | None, once: str | None) -> httpx.Response:
        """The server's answer, asked for again while it may still come."""
        headers = {} if once is None else {"Idempotency-Key": once}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = body.model_dump_json().encode()
        began = time.monotonic()
        backoff_s = FIRST_BACKOFF_S
        while True:
            wait_s = self._random.uniform(0, backoff_s)
            fault: FedFlowError
            try:
                response = self._client.request(method, url, content=content, headers=headers)
            except httpx.RequestError as error:  # TransportError, or content that cannot be decoded
                fault = unreachable(url, error)
            else:
                if response.status_code < 300:
                    return response
                fault = error_of(response)
                if response.status_code not in PASSING and "Retry-After" not in response.headers:
                    raise fault
                wait_s = max(wait_s, retry_after_s(response))
            if time.monotonic() - began + wait_s > self._patience_s:
                raise fault
            if backoff_s > FIRST_BACKOFF_S:
                self.on_trouble(str(fault))
            self._sleep(wait_s)
            backoff_s = min(LONGEST_BACKOFF_S, 2 * backoff_s)


class DeviceAuth(httpx.Auth):
    """Bearer tokens of a device, each got by signing a challenge; a new one where it runs out or is refused.

    Where the server gives no token, its answer to that takes the place of the answer to the request.
    """

    def __init__(self, device: Device, identity: Identity) -> None:
        self._device = device
        self._identity = identity
        self._token = ""
        self._good_until = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What httpx sends for one request."""
        was_fresh = False
        if time.monotonic() >= self._good_until:
            was_fresh = True
            if not (yield from self._new_token(request)):
                return
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code != 401:
            return
        self._good_until = 0.0
        if was_fresh or not isinstance(request.stream, httpx.ByteStream):
            return  # a body that is read from a file is gone; whoever sends it sends it again
        if (yield from self._new_token(request)):
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _new_token(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, bool]:
        for _ in range(CHALLENGES):
            challenge = ChallengeRequest(device_id=self._device.device_id)
            challenged = yield from self._post("challenge", challenge, Challenged, request)
            if isinstance(challenged, int):
                return False
            text = signed_text(self._device.device_id, challenged.nonce)
            answer = TokenRequest(
                device_id=self._device.device_id, nonce=challenged.nonce, signature=self._identity.sign(text)
            )
            began = time.monotonic()
            token = yield from self._post("token", answer, Token, request)
            if not isinstance(token, int):
                self._token = token.token
                self._good_until = began + max(token.expires_in_s / 2, token.expires_in_s - TOKEN_MARGIN_S)
                return True
            if token != httpx.codes.UNAUTHORIZED:
                return False
        return False

    def _post(
        self, what: str, body: Message, kind: type[M], cause: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, M | int]:
        """The server's message, or the status where it gives another answer."""
        url = f"{self._device.server}{API}/devices/{what}"
        headers = {name: cause.headers[name] for name in (PROTOCOL_HEADER, "User-Agent")}
        headers["Content-Type"] = "application/json"
        response = yield httpx.Request(
            "POST", url, content=body.model_dump_json().encode(), headers=headers, extensions=cause.extensions
        )
        if response.status_code >= 300:
            return response.status_code
        try:
            return kind.model_validate_json(response.read())
        except ValidationError:
            raise no_message(url, kind) from None


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except TransferError as error:
        raise fault(printable(str(error)), error.status) from None
