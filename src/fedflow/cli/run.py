"""`fedflow run`: what a coordinator does with a run on a FedFlowServer."""

from __future__ import annotations

import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from fedflow.client.answers import printable
from fedflow.client.connection import PASSING
from fedflow.client.consent import size_text
from fedflow.client.transfer import download
from fedflow.errors import MistakeError, RunError
from fedflow.federation.protocol import API, PROTOCOL, PROTOCOL_HEADER
from fedflow.plan import read_plan
from fedflow.storage.blobs import SHA256

TIMEOUT_S = 30.0
LOOK_S = 0.5
PAUSE_S = 0.5
AWAY_S = 2.0
UNDER_WAY_S = 20.0
"""A server that died while it created something does it again after half of this time."""

WATCH_PATIENCE_S = 300.0
NONE_THERE = (
    "holds no coordinator's token, which is letters and digits of ASCII alone; the server writes it into its folder"
)
OVER = ("done", "stopped", "failed")


class Away(RunError):  # noqa: N818 - what the server is
    """No answer, or one that says 'not now': the same request later may succeed."""


class UnderWay(Away):
    """What is to be made is being made for the same request, or was when the server died."""


class Coordinator:
    """A coordinator's talk with the server at `url`; every answer that is an error becomes one line."""

    def __init__(self, url: str, token: str | None, token_file: Path) -> None:
        secret = _checked(token.strip(), "FEDFLOW_TOKEN") if token else _read_token(token_file)
        self._client = httpx.Client(
            base_url=url.rstrip("/") + API,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {secret}", PROTOCOL_HEADER: str(PROTOCOL)},
        )
        self._url = url

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON at `path`."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: object | None = None) -> Any:
        """The answer to `body` sent to `path`."""
        return self._ask("POST", path, json=body)

    def create(self, path: str, body: object) -> Any:
        """The answer to `body` sent to `path`, where that does it once; sent again where an answer is cut."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        began = time.monotonic()
        while True:
            try:
                return self._ask("POST", path, json=body, headers=headers)
            except Away as error:
                patience_s = UNDER_WAY_S if isinstance(error, UnderWay) else AWAY_S
                if time.monotonic() - began >= patience_s:
                    raise
                time.sleep(PAUSE_S)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def delete(self, path: str) -> None:
        """Do away with what is at `path`."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            answer = self._client.request(method, path, **content)
        except httpx.HTTPError as error:
            raise Away(
                f"{self._url}: no answer ({error}); is the server running? start it with 'fedflow server'"
            ) from None
        try:
            told = answer.json() if answer.content else None
        except ValueError:
            raise (Away if answer.status_code in PASSING else RunError)(
                f"{self._url}: answers like no FedFlowServer; check the address"
            ) from None
        if answer.is_error:
            problem = told.get("error", {}) if isinstance(told, dict) else {}
            message = printable(str(problem.get("message") or f"status {answer.status_code}"))
            if answer.status_code in PASSING:
                raise Away(message)
            if problem.get("code") == "under_way":
                raise UnderWay(message)
            raise (MistakeError if answer.status_code < 500 else RunError)(message)
        return told

    def pages(self, path: str, **query: str | int) -> Iterator[Any]:
        """Every item of the list at `path`, page after page."""
        after: str | int | None = None
        while True:
            page = self.get(path, **{"limit": 200, **query, **({} if after is None else {"after": after})})
            yield from page["items"]
            if page["next"] is None:
                return
            after = page["next"]

    def fetch(self, sha256: str, target: Path) -> None:
        """Download content into `target`, checked; what a cut download has left there is gone on with."""
        download(self._client, f"{self._client.base_url}files/{sha256}", sha256, target)

    def federation(self, name: str | None) -> str:
        """The identifier of the federation of this name, or of the only one there is."""
        found = {item["name"]: item["id"] for item in self.pages("/federations")}
        if name is None and len(found) == 1:
            return str(next(iter(found.values())))
        if name not in found:
            there = printable(", ".join(sorted(found)) or "none")
            if name is None:
                raise MistakeError(f"say which federation with --federation NAME; the server has {there}")
            raise MistakeError(f"--federation {name}: the server has {there}")
        return str(found[name])

    def last_run(self) -> str:
        """The identifier of the run that was started last."""
        last = deque(self.pages("/runs"), maxlen=1)
        if not last:
            raise MistakeError("the server has no run yet; start one with 'fedflow run start PLAN'")
        return str(last[0]["id"])


def code(coordinator: Coordinator, member: str, federation: str | None, max_examples: int | None) -> str:
    """Make a one-time code with which a device joins as `member`."""
    body: dict[str, object] = {"member": member}
    if max_examples is not None:
        body["max_examples"] = max_examples
    return str(coordinator.create(f"/federations/{coordinator.federation(federation)}/codes", body)["code"])


def start(coordinator: Coordinator, plan_file: Path, overrides: tuple[str, ...], federation: str | None) -> str:
    """Start a run of the plan in `plan_file` and return its identifier."""
    plan = read_plan(plan_file, overrides)
    body = {"federation_id": coordinator.federation(federation), "plan": plan.model_dump(mode="json")}
    return str(coordinator.create("/runs", body)["id"])


def watch(coordinator: Coordinator, run_id: str, patience_s: float = WATCH_PATIENCE_S) -> bool:
    """Print what happens in the run, a line each, until it is over and scored; True where it is done.

    A server that goes away is waited for, for `patience_s`. KeyboardInterrupt comes back with a message: the run
    itself goes on.
    """
    after = 0
    coordinator.get(f"/runs/{run_id}")  # a wrong address or run ends it at once
    away_since: float | None = None
    try:
        while True:
            try:
                run = coordinator.get(f"/runs/{run_id}")
                for event in coordinator.pages(f"/federations/{run['federation_id']}/events", after=after):
                    after = event["id"]
                    if event["run"] == run_id:
                        print(event_line(event), flush=True)
                away_since = None
            except Away as error:
                if away_since is None:
                    away_since = time.monotonic()
                    print(f"fedflow: {error}; trying on", file=sys.stderr, flush=True)
                if time.monotonic() - away_since > patience_s:
                    raise
            else:
                if run["status"] in OVER and not run["jobs_to_come"]:
                    if run["message"]:
                        print(printable(run["message"]), file=sys.stderr)
                    return bool(run["status"] == "done")
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"no longer watching; the run goes on. 'fedflow run watch {run_id}' watches again"
        ) from None


def event_line(event: dict[str, Any]) -> str:
    """What happened, as one line for a terminal, whatever its facts hold."""
    at = time.strftime("%H:%M:%S", time.localtime(time.time() - event["age_s"]))
    facts = event["facts"]
    told = ", ".join(f"{key} {_short(key, value)}" for key, value in facts.items() if value not in (None, "", []))
    return f"{at}  {printable(event['kind'])}" + (f": {printable(told)}" if told else "")


def _short(key: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    if key.startswith("bytes") and isinstance(value, int):
        return size_text(value)
    if isinstance(value, str) and SHA256.fullmatch(value):
        return value[:12]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read_token(path: Path) -> str:
    try:
        return _checked(path.read_text(encoding="utf-8").strip(), str(path))
    except UnicodeDecodeError:
        raise MistakeError(f"{path}: {NONE_THERE}") from None
    except OSError as error:
        raise MistakeError(
            f"{path}: no coordinator's token can be read there ({error.strerror}); give --token-file (the server "
            "writes it into its folder) or set FEDFLOW_TOKEN"
        ) from None


def _checked(token: str, source: str) -> str:
    if not token or any(not "!" <= letter <= "~" for letter in token):
        raise MistakeError(f"{source}: {NONE_THERE}")
    return token
