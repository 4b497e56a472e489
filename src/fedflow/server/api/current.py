"""What a route works with: the app's store and settings, this request's caller, and how it answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

from flask import Flask, Response, current_app, g, request
from pydantic import BaseModel

from fedflow.server.services.identity import Caller
from fedflow.server.services.imports import Allowed
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

PAGES = "pages."
STORE, SETTINGS = "fedflow.store", "fedflow.settings"


def set_up(app: Flask, store: Store, settings: ServerSettings) -> None:
    """Give the app what its routes work with."""
    app.extensions[STORE], app.extensions[SETTINGS] = store, settings
    app.before_request(_read_in_one_session)
    app.teardown_request(_end_reading)


def store() -> Store:
    """The app's store."""
    return cast(Store, current_app.extensions[STORE])


def allowed() -> Allowed:
    """From where models may come, by the app's settings."""
    return Allowed(settings().imports, settings().hub_imports)


def settings() -> ServerSettings:
    """The app's settings."""
    return cast(ServerSettings, current_app.extensions[SETTINGS])


def caller() -> Caller:
    """Who is calling; only for routes whose right is not 'anyone'."""
    return cast(Caller, g.caller)


def answer(message: BaseModel, status: int = 200) -> Response:
    """The response that carries `message` as JSON."""
    return Response(message.model_dump_json(), status, mimetype="application/json")


def _read_in_one_session() -> None:
    """A page asks many services, and some of them for the same rows."""
    if request.method == "GET" and request.endpoint is not None and request.endpoint.startswith(PAGES):
        g.reading = store().one_reading()
        g.reading.__enter__()


def _end_reading(_error: BaseException | None) -> None:
    reading: AbstractContextManager[None] | None = g.pop("reading", None)
    if reading is not None:
        reading.__exit__(None, None, None)
