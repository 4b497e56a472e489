"""The first page: what waits for the reader, and their federations with the newest runs of each."""

from __future__ import annotations

from flask import Blueprint, Response

from fedflow import web

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
def overview() -> Response:
    """What waits, and how it is going."""
    return web.page("pages/overview.html")
