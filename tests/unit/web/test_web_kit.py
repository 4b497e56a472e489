"""Pages: headers, preferences that stay on the site, fragments, and texts that stay text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from kit_page import create_app

from fedflow import web
from fedflow.web.headers import STRICT, SWAGGER, is_below


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = create_app()
    app.config["TESTING"] = True
    with app.test_client() as client:
        yield client


def test_every_answer_carries_the_headers(client: FlaskClient) -> None:
    for path in ("/kit", "/nowhere", "/broken", "/part"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"] == STRICT
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert "Strict-Transport-Security" not in headers
    assert "unsafe" not in STRICT
    assert "frame-ancestors 'none'" in STRICT
    assert client.get("/kit", base_url="https://localhost").headers["Strict-Transport-Security"]


def test_only_the_named_path_has_a_policy_of_its_own(client: FlaskClient) -> None:
    assert client.get("/openapi/swagger").headers["Content-Security-Policy"] == SWAGGER
    assert client.get("/openapi-else").headers["Content-Security-Policy"] == STRICT
    assert [is_below(path, "/runs") for path in ("/runs", "/runs/3", "/runs-old", "/")] == [True, True, False, False]


def test_a_page_is_the_readers_own(client: FlaskClient) -> None:
    answer = client.get("/kit")
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"Cookie", "Accept-Language", "HX-Request"} <= {part.strip() for part in answer.headers["Vary"].split(",")}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/runs/3?tab=plan", "/runs/3?tab=plan"),
        ("//else.example", "/"),
        ("/\\else.example", "/"),
        ("https://else.example", "/"),
        ("/\t/else.example", "/"),
        ("", "/"),
    ],
)
def test_preferences_lead_back_and_never_away(client: FlaskClient, target: str, expected: str) -> None:
    answer = client.post("/preferences", data={"theme": "dark", "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, expected)
    assert 'data-theme="dark"' in client.get("/kit").text


def test_preferences_keep_nothing_unknown(client: FlaskClient) -> None:
    answer = client.post("/preferences", data={"theme": "pink", "language": "../../etc"})
    assert "Set-Cookie" not in answer.headers
    assert client.get("/preferences").status_code == 405
    client.set_cookie("fedflow_theme", '"><script>')
    assert 'data-theme="system"' in client.get("/kit").text


def test_htmx_gets_the_part_alone_and_everybody_else_the_page(client: FlaskClient) -> None:
    part = client.get("/part", headers={"HX-Request": "true"}).text
    assert part.startswith('<p id="part">')
    assert "<html" not in part


def test_the_rail_marks_where_one_is(client: FlaskClient) -> None:
    text = client.get("/kit").text
    marked = re.findall(r'<a class="place" href="([^"]+)" aria-current="page">', text)
    assert set(marked) == {"/kit"}
    assert 'popovertarget="more-places">' in text
    people = client.get("/of-people").text  # on a narrow screen behind 'More'
    assert set(re.findall(r'<a class="place" href="([^"]+)" aria-current="page">', people)) == {"/people"}
    assert 'popovertarget="more-places" aria-current="true">' in people


def test_a_missing_static_file_stops_the_page_where_it_is_written() -> None:
    app = Flask("missing", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list))
    with app.test_request_context(), pytest.raises(KeyError, match=r"no static file 'web/none\.css'"):
        app.jinja_env.from_string("{{ asset('web/none.css') }}").render()


def test_forms_and_htmx_carry_the_apps_own_guard() -> None:
    app = create_app()
    app.jinja_env.globals["csrf_token"] = lambda: "of-this-session"
    text = app.test_client().get("/kit").text
    assert '<meta name="csrf-token" content="of-this-session">' in text
    forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)
    assert len(forms) == 8
    assert [form for form in forms if 'name="csrf_token" value="of-this-session"' not in form] == []


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"

EVERYTHING = """
{% from "web/components/actions.html" import asking_button, button, confirm, copyable, link_button %}
{% from "web/components/data.html" import facts, pictures, table, tabs %}
{% from "web/components/forms.html" import checked_at, field, groups, more %}
{% from "web/components/messages.html" import empty, form_faults, notice %}
{% from "web/components/shell.html" import place %}
{% from "web/components/states.html" import badge, progress, rounds %}
{{ button(x, attrs={"title": x}) }}{{ link_button(x, x, attrs={"title": x}) }}{{ copyable(x) }}{{ asking_button(x, x) }}
{% call confirm(x, x, x, x, fields={x: x}) %}{{ x }}{% endcall %}
{% call confirm(x, x, x, x, back=x) %}{{ x }}{% endcall %}
{{ facts([(x, x)]) }}{{ tabs([{"label": x, "href": x}, {"label": x, "href": x, "folded": true}], x) }}
{{ badge("done", x) }}{{ progress(x, 1, 2, x) }}
{{ pictures([{"src": x, "alt": x, "caption": x, "width": 1, "height": 1, "href": x}, {"missing": x}]) }}
{% call(row, key) table([{"key": "a", "label": x}, {"key": "b", "label": x}], [1], x) %}{{ x }}{% endcall %}
{{ empty(x, x) }}{{ notice(x) }}{{ place(item) }}{% call more(x) %}{{ x }}{% endcall %}
{{ rounds([{"number": 1, "state": "done", "now": true, "detail": x, "href": x}]) }}
{% for kind in ("text", "password", "integer", "choice", "switch", "lines", "file") %}
{% set f = {"name": x, "label": x, "kind": kind, "help": x, "unit": x, "choices": [(x, x)], "placeholder": x} %}
{{ field(f, x, [x]) }}
{% endfor %}
{{ groups([{"name": x, "label": x, "help": x, "short": [], "folded": []}], {}, {x: [x]}) }}
<form {{ checked_at(x) }}></form>{{ form_faults(what_is_wrong({x: [x, x]})) }}
"""


class Elements(HTMLParser):
    """Counts what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.run: list[str] = []
        self.num_elements = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.num_elements += 1
        if tag == "script" or any(name.startswith("on") for name, _ in attrs):
            self.run.append(tag)


def test_hostile_texts_stay_texts_in_every_component() -> None:
    app = Flask("hostile", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list))

    @app.get("/")
    def everything() -> Response:
        return Response(app.jinja_env.from_string(EVERYTHING).render(x=HOSTILE, item=web.Item(HOSTILE, HOSTILE)))

    text = app.test_client().get("/").text
    elements = Elements()
    elements.feed(text)
    assert elements.num_elements > 100
    assert elements.run == []
    assert "<img src=x" not in text
    assert "49" not in text


def test_importing_the_room_is_cheap_and_brings_no_torch() -> None:
    program = (
        "import flask, sys; from pathlib import Path\n"
        "def mb(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 1e6\n"
        "before = mb(); import fedflow.web, fedflow.web.forms, fedflow.web.reading\n"
        "print(mb() - before, 'torch' in sys.modules, 'sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    grown_mb, torch, sqlalchemy = done.stdout.split()
    assert float(grown_mb) < 15
    assert (torch, sqlalchemy) == ("False", "False")
