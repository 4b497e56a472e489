"""What went wrong, as a page: one sentence and the way out."""

from __future__ import annotations

import logging

from flask import Flask, Response
from flask_babel import LazyString, gettext, lazy_gettext
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from fedflow import web
from fedflow.client.pages import current
from fedflow.errors import StorageError

REASONS: dict[int, tuple[LazyString, LazyString]] = {
    404: (lazy_gettext("Not found"), lazy_gettext("There is no such page here, or what it showed was deleted.")),
    405: (lazy_gettext("Not possible"), lazy_gettext("This address takes no such request. Go back and use the page.")),
    413: (lazy_gettext("Too large"), lazy_gettext("What was sent is larger than this app takes.")),
}

log = logging.getLogger("fedflow.client")


def set_up(app: Flask) -> None:
    """Let `app` answer with such pages."""
    app.register_error_handler(HTTPException, _refused)
    for kind in (OperationalError, StorageError):
        app.register_error_handler(kind, _no_store)
    app.register_error_handler(Exception, _failed)


def _refused(error: HTTPException) -> Response:
    code = error.code or 500
    title, reason = REASONS.get(code, REASONS[405])
    return _page(code, str(title), str(reason))


def _no_store(error: Exception) -> Response:
    """The disk is full, or the folder cannot be read or written."""
    log.error("the app's folder cannot be used: %s", error)
    reason = gettext(
        "The app's folder %(folder)s cannot be used. Free space on its disk, or check the folder, then go back in your "
        "browser, which keeps what you have typed, and try again.",
        folder=current.store().folder,
    )
    return _page(507, gettext("Storage"), reason)


def _failed(error: Exception) -> Response:
    log.exception("a page failed", exc_info=error)
    reason = gettext("Something in the app failed. The terminal in which it was started says what.")
    return _page(500, gettext("Failed"), reason)


def _page(code: int, title: str, reason: str) -> Response:
    return web.page("web/error.html", status=code, code=code, title=title, reason=reason)
