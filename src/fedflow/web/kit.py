"""Put the kit into a Flask app: templates, static files, filters, languages, headers, and `page` to answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_babel import LazyString
from werkzeug import Response as AnyResponse

from fedflow.web import amounts, headers, languages, present, wrong
from fedflow.web.assets import Assets
from fedflow.web.states import State

HERE = Path(__file__).parent
THEMES = ("system", "light", "dark")
THEME_COOKIE = "fedflow_theme"
YEAR_S = 365 * 86400


@dataclass(frozen=True)
class Item:
    """A place in the rail. `count` is how many things there wait for the reader.

    `also` is where more of it lies, `but` what lies below and is another's; a part `*` of these stands for any one.
    """

    label: str | LazyString
    href: str
    count: int = 0
    also: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shell:
    """What the app tells of itself on every page. The functions are asked within a request.

    `items`: the rail's places that the reader may see, most needed first; a narrow screen shows four, folds the rest.
    `person`: what the reader is called and where their account is; None for nobody. `reader`: what tells them
    apart from others who use this browser; empty for nobody. `sign_out`: the address of a form that lets the reader
    out, where every page shall have it.
    """

    product: str
    items: Callable[[], Sequence[Item]]
    person: Callable[[], Item | None] = lambda: None
    language_of_person: Callable[[], str | None] = lambda: None
    reader: Callable[[], str] = lambda: ""
    sign_out: Callable[[], str | None] = lambda: None


def set_up(
    app: Flask,
    shell: Shell,
    *,
    static: Mapping[str, Path] | None = None,
    translations: Sequence[Path] = (),
    relaxed_paths: Mapping[str, str] | None = None,
) -> None:
    """Give `app` the kit.

    Adds the endpoints `web.asset` and `web.preferences`, which are open to everybody and change nothing but the
    reader's own two cookies.

    Args:
        app: the application, before its first request.
        shell: what the app tells of itself.
        static: folders of the app's own static files, by the first part of their names.
        translations: folders of the app's own compiled catalogues.
        relaxed_paths: Content-Security-Policy by path, for what cannot live with the strict one.
    """
    assets = Assets({"web": HERE / "static", **(static or {})})
    blueprint = Blueprint("web", __name__, template_folder="templates")

    @blueprint.get("/assets/<version>/<path:name>")
    def asset(version: str, name: str) -> Response:
        return assets.serve(version, name)

    blueprint.add_url_rule("/preferences", view_func=preferences, methods=["POST"])
    app.register_blueprint(blueprint)

    @cache
    def asset_url_below(_root: str, name: str) -> str:
        if name not in assets:
            raise KeyError(f"no static file '{name}'")
        return url_for("web.asset", version=assets.version, name=name)

    def asset_url(name: str) -> str:
        return asset_url_below(request.script_root, name)

    languages.set_up(app, translations, shell.language_of_person)
    headers.set_up(app, relaxed_paths or {})
    app.jinja_env.globals.update(
        asset=asset_url,
        shell=shell,
        State=State,
        note_wrong=wrong.note,
        what_is_wrong=wrong.told,
        languages=languages.LANGUAGES,
        themes=THEMES,
        reader_language=present.language,
        reader_theme=lambda: theme if (theme := request.cookies.get(THEME_COOKIE)) in THEMES else "system",
        is_here=is_here,
        come_back=lambda: request.full_path.rstrip("?") if request.method == "GET" else "/",
    )
    app.jinja_env.filters.update(
        number=amounts.number,
        setting=amounts.setting,
        percent=amounts.percent,
        megabytes=amounts.megabytes,
        duration=amounts.duration,
        time_tag=amounts.time_tag,
    )
    app.jinja_env.tests["here"] = is_here
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def page(template: str, *, status: int = 200, fragment: str | None = None, **context: Any) -> Response:
    """The page as an answer that nobody keeps: it is the reader's own.

    One that refuses a form, with `faults` by field in its context, says so in its title, and above the form what is
    wrong: that has the focus, and leads to the fields.

    Args:
        template: its name; `web/base.html` says what it may fill in.
        status: of the answer.
        fragment: the block that is enough where htmx asks for a part of the page.
        context: the template's values.
    """
    context["is_refused"] = 400 <= status < 500 and bool(context.get("faults"))
    if fragment is not None and "HX-Request" in request.headers and "HX-Boosted" not in request.headers:
        text = _block(template, fragment, context)
    else:
        text = render_template(template, **context)
    response = make_response(text, status)
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("Cookie", "Accept-Language", "HX-Request"))
    return response


def _block(template: str, name: str, context: dict[str, Any]) -> str:
    """One block of a template, drawn with what a whole page would have."""
    current_app.update_template_context(context)
    found = current_app.jinja_env.get_template(template)
    values = found.new_context(context)
    next(found.root_render_func(values), None)  # up to the page's first words: the block sees the template's imports
    return "".join(found.blocks[name](values))


def is_here(item: Item) -> bool:
    """Whether the page that is asked for belongs to the place."""
    return any(map(_leads_here, (item.href, *item.also))) and not any(map(_leads_here, item.but))


def _leads_here(place: str) -> bool:
    if place == "/":
        return request.path == "/"
    asked, wanted = request.path.split("/"), place.rstrip("/").split("/")
    return len(asked) >= len(wanted) and all(part in ("*", own) for own, part in zip(asked, wanted, strict=False))


def preferences() -> AnyResponse:
    """Keep the theme or the language that the reader chose in a cookie, and go back to where they were."""
    target = request.form.get("next", "")
    answer = redirect(target if is_own_path(target) else "/", 303)
    kept = ((THEME_COOKIE, "theme", THEMES), (languages.COOKIE, "language", languages.LANGUAGES))
    for cookie, field, allowed in kept:
        if (chosen := request.form.get(field)) in allowed:
            answer.set_cookie(cookie, chosen or "", max_age=YEAR_S, samesite="Lax", secure=request.is_secure)
    return answer


def is_own_path(target: str) -> bool:
    """Whether a browser that is sent to `target` stays on this site: '//else.where' and '/\\else.where' leave it."""
    return target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable()
