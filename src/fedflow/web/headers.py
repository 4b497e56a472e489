"""The headers that every answer carries, so that no page runs what it did not bring and none is shown inside another.

Flask-Talisman would set the same; its last release is of August 2023, and what is needed of it is one function.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask, Response, request

STRICT = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'"
)
"""The policy of every page: nothing from elsewhere, no inline script or style, no eval."""

SWAGGER = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
"""For the API's description, whose page starts itself by an inline script."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()",
}

HSTS = "max-age=31536000"


def set_up(app: Flask, relaxed_paths: Mapping[str, str]) -> None:
    """Give every answer of `app` the headers; below a path of `relaxed_paths` its own policy instead of the strict.

    A header that a route has set itself stays.
    """

    def protect(response: Response) -> Response:
        policy = next((own for path, own in relaxed_paths.items() if is_below(request.path, path)), STRICT)
        response.headers.setdefault("Content-Security-Policy", policy)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        return response

    app.after_request(protect)


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or a page under it: '/runs/3' is below '/runs', '/runs-old' is not."""
    return path == top or path.startswith(f"{top.rstrip('/')}/")
