"""The kit's own page: every component in every state, for people who work on it and for the tests.

`python tests/support/kit_page.py` serves it on http://127.0.0.1:5055/kit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask, Response, flash, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

import fedflow.web
from fedflow import web
from fedflow.plan import Plan
from fedflow.web.forms import describe, texts
from fedflow.web.headers import SWAGGER
from fedflow.web.reading import last_values, read
from fedflow.web.states import State

KIT = Path(__file__).parent / "kit"
DEMO = Path(fedflow.web.__file__).parents[1] / "data" / "demo" / "heldout"
SHORT = ("name", "model", "method", "rounds", "data.clients", "lora.rank", "training.epochs", "network.deadline_s")
LONG_NAME = "Лабораторіядосліджуванняранніхзмін" * 2
PLACES = ("Overview", "Federations", "Runs", "Models", "People", "Audit", "System")
PICTURES = ("whale", "sunflower", "skateboard", "pineapple", "tomato", "kangaroo", "skis")

ROWS = (
    ("Atelier Nord", State.WAITING, "Waiting", 1240, 0, 5),
    ("Museum of Applied Arts", State.RUNNING, "Training", 380, 0, 42),
    ("Клініка «Світло»", State.DONE, "Update accepted", 2210, 8_402_113, 4000),
    ("studio-3", State.REFUSED, "Declined", 96, 0, 90_000),
    ("Lab of a rather long name that has to break somewhere", State.FAILED, "Failed", 12, 412, 200_000),
)


def create_app() -> Flask:
    """The app; every request is answered anew, nothing is kept."""
    app = OpenAPI("kit_page", info=Info(title="Kit", version="1"), root_path=str(KIT), static_folder=None)
    app.secret_key = "of the kit's own page"  # noqa: S105 - nothing is behind it
    closing = app.config["CLOSING"] = threading.Event()  # set it, and open streams end
    shell = web.Shell(
        "FedFlow",
        lambda: [
            web.Item(
                word,
                f"/{word.lower()}" if word != "Runs" else "/kit",
                count={"Federations": 3, "System": 2}.get(word, 0),
                also=("/of-people",) if word == "People" else (),
            )
            for word in PLACES
        ],
        lambda: web.Item(f"Olena {LONG_NAME}", "/account"),
    )
    web.set_up(app, shell, static={"kit": KIT, "demo": DEMO}, relaxed_paths={"/openapi": SWAGGER})

    @app.route("/of-people", methods=["GET"])
    @app.route("/kit", methods=["GET", "POST"])
    def kit() -> Response:
        values, faults = texts(Plan()), {}
        if request.method == "POST" or "faults" in request.args:
            sent = last_values(request.form) or {"rounds": "0", "network.quorum": "9", "data.clients": "a\n.b"}
            reading = read(Plan, sent, Plan())
            values, faults = reading.values, reading.faults
        if "flash" in request.args:
            flash("Round 3 is closed. Its adapter is ready to try.", State.DONE)
            flash("The export failed: the disk is full. Free 2 GB and start it again.", State.FAILED)
        now = datetime.now(UTC)
        return web.page(
            "kit.html",
            status=422 if faults else 200,
            nodes=[
                {"number": number, "state": state, "href": "#round", "now": number == 4, "detail": "3 of 5 updates"}
                for number, state in enumerate(
                    (State.DONE, State.DONE, State.FAILED, State.RUNNING, *(State.WAITING,) * 8), start=1
                )
            ],
            rows=[
                {"name": n, "state": s, "word": w, "examples": e, "size": b, "seen": now - timedelta(seconds=ago)}
                for n, s, w, e, b, ago in ROWS
            ],
            long_name=LONG_NAME,
            started=now - timedelta(hours=3),
            images=[
                {
                    "src": f"/assets/any/demo/{name}.png",
                    "alt": name,
                    "caption": f"{name}, flat icon",
                    "width": 64,
                    "height": 64,
                    "href": "#",
                }
                for name in PICTURES
            ]
            + [{"missing": "Not drawn yet", "caption": "round 5"}],
            described=describe(Plan, SHORT),
            values=values,
            faults=faults,
        )

    @app.post("/check")
    def check() -> Response:
        reading = read(Plan, last_values(request.form))
        described = describe(Plan, SHORT)
        return web.page(
            "kit.html", fragment="plan_form", described=described, values=reading.values, faults=reading.faults
        )

    @app.get("/part")
    def part() -> Response:
        return web.page("part.html", fragment="part")

    @app.get("/refused")
    def refused() -> Response:
        return Response("no", 409)

    @app.get("/events")
    def events() -> Response:
        def told() -> Iterator[str]:
            yield "event: told\ndata: told by the server\n\n"
            closing.wait(60)

        return Response(told(), mimetype="text/event-stream")

    @app.get("/sign-in")
    def sign_in() -> Response:
        return web.page("sign_in.html", faults=["The address or the password is wrong."])

    @app.get("/broken")
    def broken() -> Response:
        reason = "There is no run of this name, or it is not yours to see."
        return web.page("web/error.html", status=404, code=404, title="Page not found", reason=reason)

    return app


if __name__ == "__main__":
    create_app().run(port=5055)
