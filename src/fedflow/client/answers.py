"""What a server answers as errors of FedFlow, and its texts as a terminal may show them."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from fedflow.client.transfer import why
from fedflow.errors import MistakeError, RunError
from fedflow.federation.protocol import PROTOCOL, Message, Problem


class Refused(MistakeError):  # noqa: N818 - what the server did
    """The server said no; `status` is HTTP's, the message the server's sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(RunError):  # noqa: N818 - what the server is
    """The server cannot be reached, or cannot do it now; the same request later may succeed."""


def error_of(response: httpx.Response) -> Refused | Unavailable:
    """The server's answer that is no success as an error with its sentence.

    What is no sentence of a FedFlow server's, a proxy says or a sign-in page: the server may be there again later.
    """
    try:
        sentence = printable(Problem.model_validate_json(response.read()).error.message)
    except ValidationError:
        what = f"{response.status_code} {response.reason_phrase}".strip()
        return Unavailable(
            f"{response.request.url}: answered '{printable(what)}', not as a FedFlow server does; check the address"
        )
    return fault(sentence, response.status_code)


def unreachable(url: str, error: httpx.RequestError) -> Unavailable:
    """No answer at all."""
    return Unavailable(
        f"{url}: the server does not answer ({printable(why(error))}); check the address and the network"
    )


def no_message(url: str, kind: type[Message]) -> Unavailable:
    """An answer that is not what was asked for."""
    return Unavailable(
        f"{url}: the answer is no {kind.__name__} of protocol {PROTOCOL}; does a proxy or a sign-in page answer, or is "
        "the server of another version?"
    )


def printable(text: str) -> str:
    """Text of the server's for a terminal: what could steer one is written with escapes, and in one line."""
    text = " ".join(text.split())
    return text if text.isprintable() else ascii(text)


def fault(sentence: str, status: int | None) -> Refused | Unavailable:
    """What a server says as an error; `status` is None where no answer came."""
    if status is None or status >= 500 or status == 429:
        return Unavailable(sentence)
    return Refused(sentence, status)
