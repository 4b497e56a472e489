"""Addresses that hold a secret, the code of a link: what logs may have of them, and what mail programs add to them."""

from __future__ import annotations

import re
from typing import cast

from flask import Flask, current_app, redirect, request
from werkzeug import Response as AnyResponse

SECRET = "code"  # noqa: S105 - a part's name in the rules
KEPT = "fedflow.secret_paths"
SLASHES = re.compile(r"/{2,}")
WITH_MORE = re.compile(r"([A-Za-z0-9_-]+)[^A-Za-z0-9_-]+")
"""A code, and a slash, full stop or bracket that came behind it with the sentence that the link stood in."""


def set_up(app: Flask) -> None:
    """Lead links that something was added to to their pages."""
    app.before_request(_without_what_was_added)


def shown() -> str:
    """The path of the present request without the secret in it, whether there is a page at it or not."""
    beginning, _ = _parted()
    return f"{beginning}<{SECRET}>" if beginning else request.path


def _parted() -> tuple[str, str]:
    """How the request's path begins where it begins like a link, and what stands behind that; else nothing."""
    path = SLASHES.sub("/", request.path)
    for beginning in _beginnings():
        if path[: len(beginning)].lower() == beginning:
            return beginning, path[len(beginning) :]
    return "", ""


def _beginnings() -> frozenset[str]:
    """What stands before the secret in each rule that has one; they are looked for once, all rules are known then."""
    if KEPT not in current_app.extensions:
        rules = current_app.url_map.iter_rules()
        current_app.extensions[KEPT] = frozenset(
            each.rule.partition("<")[0] for each in rules if SECRET in each.arguments
        )
    return cast(frozenset[str], current_app.extensions[KEPT])


def _without_what_was_added() -> AnyResponse | None:
    beginning, rest = _parted()
    found = WITH_MORE.fullmatch(rest) if request.method in ("GET", "HEAD") else None
    return None if found is None else redirect(beginning + found[1])
