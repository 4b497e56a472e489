"""Languages: which one a page speaks, and that no text is without its Ukrainian."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from flask import Flask, render_template_string
from flask_babel import get_babel, gettext, ngettext

import fedflow.web
from fedflow import web
from fedflow.plan import Plan
from fedflow.web.forms import describe
from fedflow.web.reading import read

ROOT = Path(fedflow.web.__file__).parents[3]


def make_app(person: str | None = None) -> Flask:
    app = Flask("languages", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list, language_of_person=lambda: person))

    @app.get("/")
    def word() -> str:
        return gettext("Waiting")

    return app


@pytest.mark.parametrize(
    ("cookie", "person", "browser", "expected"),
    [
        (None, None, None, "Waiting"),
        (None, None, "uk-UA,uk;q=0.9,en;q=0.8", "Очікує"),
        (None, None, "de,fr;q=0.5", "Waiting"),
        (None, "uk", "en", "Очікує"),
        ("en", "uk", "uk", "Waiting"),
        ("xx", None, "uk", "Очікує"),
    ],
)
def test_cookie_before_person_before_browser(
    cookie: str | None, person: str | None, browser: str | None, expected: str
) -> None:
    client = make_app(person).test_client()
    if cookie:
        client.set_cookie("fedflow_language", cookie)
    headers = {"Accept-Language": browser} if browser else {}
    assert client.get("/", headers=headers).text == expected


@pytest.mark.parametrize("room", ["web", "server/pages", "client/pages"])
def test_ukrainian_is_written_with_one_apostrophe_and_one_word_for_a_machine(room: str) -> None:
    place = ROOT / "src" / "fedflow" / room / "translations" / "uk" / "LC_MESSAGES" / "messages.po"
    texts = [
        text
        for each in read_po(io.BytesIO(place.read_bytes()))
        for text in ([each.string] if isinstance(each.string, str) else each.string)
        if each.id
    ]
    assert len(texts) > 100
    assert [text for text in texts if re.search("[\u2019\u02bc\u2018`]", text)] == []
    assert [text for text in texts if re.search("машин", text, re.IGNORECASE)] == []
    leaves = re.compile(r"залиш\w+ (це\w+ комп'ютер|його)", re.IGNORECASE)
    assert [text for text in texts if leaves.search(text)] == [], "which says as well that it is kept there"


def test_counts_stand_in_texts_as_the_reader_writes_numbers() -> None:
    app = make_app()
    template = "{{ ngettext('%(num)s of %(kind)s', '%(num)s of all %(kind)s', 12345, kind='<b>') }}"

    @app.get("/many")
    def many() -> str:
        return ngettext("%(num)s picture", "%(num)s pictures", 12345) + "; " + render_template_string(template)

    client = app.test_client()
    assert client.get("/many").text == "12,345 pictures; 12,345 of all &lt;b&gt;"
    in_ukrainian = client.get("/many", headers={"Accept-Language": "uk"}).text
    assert in_ukrainian == "12\u00a0345 pictures; 12\u00a0345 of all &lt;b&gt;"


def test_a_catalogue_is_read_once() -> None:
    app = make_app("uk")
    domains = set()
    for _ in range(2):
        with app.test_request_context():
            assert gettext("Done") == "Готово"
            domains.add(id(get_babel().instance.domain_instance.get_translations()))
    assert len(domains) == 1


def test_a_form_and_its_faults_speak_ukrainian() -> None:
    with make_app("uk").test_request_context():
        groups = {group.name: group for group in describe(Plan)}
        assert (groups["training"].label, groups["network"].label) == ("Навчання", "Мережа")
        assert read(Plan, {"rounds": "0"}).faults == {"rounds": ["Щонайменше 1."]}


def test_an_app_adds_texts_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "uk" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    source = folder / "messages.po"
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    source.write_text(f'{head}\nmsgid "Runs"\nmsgstr "Запуски"\n', encoding="utf-8")
    babel = [sys.executable, "-m", "babel.messages.frontend", "compile", "-d", str(tmp_path), "-l", "uk"]
    subprocess.run(babel, check=True, capture_output=True)
    app = Flask("own", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list, language_of_person=lambda: "uk"), translations=[tmp_path])
    with app.test_request_context():
        assert (gettext("Runs"), gettext("Done")) == ("Запуски", "Готово")


def test_every_text_has_its_ukrainian_and_the_compiled_catalogue_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "messages.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_text_is_asked_for_inside_another_where_the_catalogue_does_not_see_it() -> None:
    rooms = [ROOT / "src" / "fedflow" / "web", ROOT / "src" / "fedflow" / "server" / "pages"]
    sources = {path: ast.parse(path.read_text(encoding="utf-8")) for room in rooms for path in room.rglob("*.py")}
    hidden = [
        (path.name, each.lineno)
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("gettext")
    ]
    assert hidden == []


def test_a_text_is_said_alike_in_every_catalogue() -> None:
    """An app's catalogue goes before the kit's: a second meaning of an English text would change the kit's words."""
    rooms = [ROOT / "src" / "fedflow" / room / "translations" / "uk" for room in ("web", "server/pages")]
    kit, pages = (read_po(io.BytesIO((room / "LC_MESSAGES/messages.po").read_bytes()), locale="uk") for room in rooms)
    both = [(message, other) for message in kit if message.id and (other := pages.get(message.id, message.context))]
    assert len(both) > 20
    assert [(one.id, one.string, other.string) for one, other in both if one.string != other.string] == []
