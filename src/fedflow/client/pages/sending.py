"""Files that a page sends, by its script or as a plain form: where they are written, and what is answered."""

from __future__ import annotations

from typing import IO

from flask import Flask, Request, jsonify, redirect, request
from werkzeug import Response as AnyResponse

from fedflow.client.pages import current
from fedflow.client.services import shelving_uploads

IMPORTS = "pages.models.imports"
"""The endpoint that takes several gigabytes at once."""
FORM_BYTES = 10_000_000
"""What a form holds beside its files."""


class AppRequest(Request):
    """A request whose file is written into the app's folder as it comes, where it may be that large."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if self.endpoint == IMPORTS:
            return shelving_uploads.arriving(current.store())
        return super()._get_file_stream(total_content_length, content_type, filename, content_length)


def set_up(app: Flask) -> None:
    """Have `app` take such files; before anything reads a form."""
    app.request_class = AppRequest
    app.before_request(_let_large_ones_in)


def led_to(place: str) -> AnyResponse:
    """The answer to files that were taken: where what became of them is shown."""
    return jsonify({"place": place}) if is_script() else redirect(place, 303)


def told(why: str) -> AnyResponse:
    """The answer to a page's script whose files are refused."""
    answer = jsonify({"told": why})
    answer.status_code = 422
    return answer


def is_script() -> bool:
    """Whether a page's script sends them, which shows the answer where it is."""
    return request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"


def _let_large_ones_in() -> None:
    if request.endpoint == IMPORTS:
        request.max_content_length = shelving_uploads.MOST_BYTES + FORM_BYTES
