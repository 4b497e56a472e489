"""Log lines as JSON, one per request: id, method, path, status, milliseconds, caller. Never a token or a query."""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime

from flask import Flask, Response, g, request

from fedflow.server.api import secret_paths
from fedflow.server.services.identifiers import new_id

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FIELDS = ("request_id", "method", "path", "status", "ms", "caller")
log = logging.getLogger("fedflow.server.requests")


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message, and the request's fields where it has some."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configuration(level: str = "INFO") -> dict[str, object]:
    """Settings for `logging.config.dictConfig`: everything of this process goes to standard error as JSON lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"alembic": {"level": "WARNING"}, "huey": {"level": "WARNING"}},
    }


def set_up(app: Flask) -> None:
    """Give every request of `app` an id, told in the answer too, and a line in the log."""
    app.before_request(_begin)
    app.after_request(_end)


def routine() -> None:
    """Keep the request's line out of the log: such come every few seconds, and change nothing."""
    g.level = logging.DEBUG


def _begin() -> None:
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else new_id()
    g.begun = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = g.request_id
    caller = g.get("caller")
    log.log(
        g.get("level", logging.INFO),
        "request",
        extra={
            "request_id": g.request_id,
            "method": request.method,
            "path": secret_paths.shown(),
            "status": response.status_code,
            "ms": round((time.perf_counter() - g.begun) * 1000, 1),
            "caller": f"{caller.kind} {caller.id}" if caller else None,
        },
    )
    return response
