"""The pages put together: the kit, and a blueprint of each module."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Flask, g, request, url_for
from flask_babel import lazy_gettext

from fedflow import web
from fedflow.client.pages import (
    activity,
    arriving,
    compare,
    consent,
    current,
    datasets,
    datasets_captions,
    datasets_check,
    datasets_tagging,
    datasets_uploads,
    entry,
    errors,
    faults,
    federation_words,
    federations,
    gallery,
    generate,
    job_words,
    models,
    sent,
    server_models,
    sign_ins,
    train,
)
from fedflow.client.services import consents, jobs
from fedflow.datasets.captions import in_sight
from fedflow.web import guard

HERE = Path(__file__).parent
MODULES = (
    entry,
    generate,
    compare,
    gallery,
    datasets,
    datasets_captions,
    datasets_check,
    datasets_tagging,
    datasets_uploads,
    train,
    models,
    arriving,
    sent,
    federations,
    consent,
    server_models,
    sign_ins,
    activity,
)
YEAR_S = 365 * 86400.0


def set_up(app: Flask) -> None:
    """Give `app`, within its context, the kit and the pages."""
    web.set_up(
        app,
        web.Shell("FedFlow", _rail, sign_out=_sign_out),
        static={"client": HERE / "static"},
        translations=[HERE / "translations"],
    )
    app.before_request(_note_news)
    guard.set_up(app, lambda: current.store().key, YEAR_S)
    errors.set_up(app)
    app.jinja_env.globals.update(
        asks_password=lambda: current.settings().password is not None,
        disk_is_full=lambda: current.store().is_full(),
        job_words=job_words,
        job_news=lambda: g.news if "news" in g else jobs.news(current.store()),
        run_standing=federation_words.standing,
        asks_for_round=consents.asks_for_round,
        round_standing=federation_words.trained,
        sent_words=federation_words.SENT,
        phase_words=federation_words.PHASES,
    )
    app.jinja_env.filters["said"] = faults.said
    app.jinja_env.filters["in_sight"] = in_sight
    app.jinja_env.filters["decimals"] = federation_words.decimals
    app.jinja_env.filters["moment"] = lambda seconds: datetime.fromtimestamp(seconds, UTC)
    pages = Blueprint("pages", __name__, template_folder="templates")
    for module in MODULES:
        pages.register_blueprint(module.blueprint)
    app.register_blueprint(pages)


def _note_news() -> None:
    """A page is told of all that changes from before it was put together: its stream begins there."""
    if "text/html" in request.headers.get("Accept", ""):
        g.news = jobs.news(current.store())


def _sign_out() -> str | None:
    return url_for("pages.entry.sign_out") if current.settings().password and g.get("is_in", False) else None


def _rail() -> list[web.Item]:
    if not g.get("is_in", False):
        return []
    return [
        web.Item(lazy_gettext("Generate"), url_for("pages.generate.page")),
        web.Item(lazy_gettext("Gallery"), url_for("pages.gallery.page"), also=("/compare",)),
        web.Item(lazy_gettext("Datasets"), url_for("pages.datasets.listed")),
        web.Item(lazy_gettext("Train"), url_for("pages.train.listed")),
        web.Item(lazy_gettext("Models"), url_for("pages.models.listed")),
        web.Item(
            lazy_gettext("Federations"),
            url_for("pages.federations.listed"),
            count=len(consents.waiting(current.store())),
        ),
        web.Item(lazy_gettext("Activity"), url_for("pages.activity.page"), count=len(jobs.under_way(current.store()))),
    ]
