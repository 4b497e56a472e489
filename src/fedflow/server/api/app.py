"""The application: blueprints, rights, errors and logs put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.security_scheme import SecurityScheme
from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

import fedflow
from fedflow.federation.protocol import Problem
from fedflow.server.api import (
    admission,
    catalogue,
    current,
    devices,
    events,
    federations,
    files,
    health,
    imports,
    limits,
    logs,
    metrics,
    people,
    problems,
    registry,
    runs,
    secret_paths,
    tryouts,
    uploads,
    work,
)
from fedflow.server.api.description import DescribedApi
from fedflow.server.pages import site
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

BLUEPRINTS: tuple[APIBlueprint, ...] = (
    health.blueprint,
    metrics.blueprint,
    devices.blueprint,
    federations.blueprint,
    events.blueprint,
    files.blueprint,
    people.blueprint,
    catalogue.blueprint,
    registry.blueprint,
    imports.blueprint,
    runs.blueprint,
    tryouts.blueprint,
    uploads.blueprint,
    work.blueprint,
)

MOST_JSON_BYTES = 1_000_000
"""Largest request that is read as a whole; a route that streams sets `request.max_content_length` itself."""


def create_app(store: Store, settings: ServerSettings) -> OpenAPI:
    """FedFlowServer's WSGI application. Raises RunError where a route has no right."""
    app = DescribedApi(
        "fedflow.server",
        info=Info(title="FedFlowServer", version=fedflow.__version__),
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")},
        validation_error_model=Problem,
        validation_error_callback=problems.unreadable_request,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = MOST_JSON_BYTES
    current.set_up(app, store, settings)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
    logs.set_up(app)
    secret_paths.set_up(app)
    limits.set_up(app)
    metrics.set_up(app)
    with app.app_context():
        site.set_up(app)
    admission.set_up(app)
    problems.set_up(app)
    if settings.public_url is not None:
        app.wsgi_app = _as_seen_outside(app.wsgi_app, settings.public_url)  # type: ignore[assignment]
    if settings.proxies:
        nothing_else = {"x_proto": 0, "x_host": 0, "x_port": 0, "x_prefix": 0}
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, **nothing_else)  # type: ignore[method-assign]
    return app


Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _as_seen_outside(application: Application, public_url: str) -> Application:
    """Requests that came over the proxy's https are https here too; what a client says of it counts for nothing."""
    scheme = public_url.partition(":")[0]

    def told(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = scheme
        return application(environ, start_response)

    return told
