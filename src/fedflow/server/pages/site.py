"""The pages put together: the kit, and a blueprint of each module."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Flask

from fedflow import web
from fedflow.server.pages import (
    account,
    audit,
    browser,
    device_sign_in,
    entry,
    examples,
    federation_settings,
    federations,
    imports,
    inviting,
    joining,
    models,
    new_run,
    overview,
    people,
    places,
    policies,
    provider,
    releases,
    runs,
    security,
    system,
    tokens,
    tryouts,
    versions,
    words,
)
from fedflow.server.pages.faults import said
from fedflow.web.headers import SWAGGER

HERE = Path(__file__).parent
MODULES = (
    entry,
    provider,
    overview,
    federations,
    federation_settings,
    joining,
    device_sign_in,
    policies,
    new_run,
    runs,
    models,
    versions,
    examples,
    releases,
    imports,
    tryouts,
    account,
    security,
    system,
    tokens,
    people,
    inviting,
    audit,
)


def set_up(app: Flask) -> None:
    """Give `app`, within its context, the kit and the pages."""
    shell = web.Shell("FedFlow", places.rail, places.person, browser.language, browser.reader)
    web.set_up(
        app,
        shell,
        static={"server": HERE / "static"},
        translations=[HERE / "translations"],
        relaxed_paths={"/openapi": SWAGGER},
    )
    browser.set_up(app)
    app.jinja_env.globals["words"] = words
    app.jinja_env.filters["said"] = said
    app.jinja_env.filters["moment"] = lambda seconds: datetime.fromtimestamp(seconds, UTC)
    pages = Blueprint("pages", __name__, template_folder="templates")
    for module in MODULES:
        pages.register_blueprint(module.blueprint)
    app.register_blueprint(pages)
