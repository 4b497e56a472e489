"""A crossed frame in the place of a picture that cannot be had now."""

from __future__ import annotations

from flask import Response

CROSSED = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160"><path d="M24 24h112v112H24zl112 112m0-112L24 136" '
    'fill="none" stroke="#888" stroke-width="2"/></svg>'
)


def crossed() -> Response:
    """The frame; a browser asks again the next time."""
    response = Response(CROSSED, mimetype="image/svg+xml")
    response.cache_control.no_store = True
    return response
