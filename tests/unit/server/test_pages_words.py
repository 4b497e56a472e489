"""Every sentence that a service of people says, and every action that it notes, has words on the pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale

import fedflow.server
from fedflow.server.pages.faults import beside, said
from fedflow.server.pages.words import ACTIONS, CONSENTS, FACTS, ROLES, ROLES_MAY, SCOPES
from fedflow.server.services.identity import SCOPES as ALL_SCOPES
from fedflow.server.services.roles import ROLES as ALL_ROLES
from fedflow.server.settings import ServerSettings

SERVER = Path(fedflow.server.__file__).parent
SPEAKING = (
    "accounts",
    "base_models",
    "catalogue",
    "directory",
    "downloads",
    "examples",
    "identities",
    "imports",
    "invitations",
    "jobs",
    "join_codes",
    "links",
    "member_names",
    "members",
    "passwords",
    "policies",
    "provider",
    "releases",
    "roles",
    "second_factor",
    "shown_counts",
    "sign_in",
    "tokens",
    "tryout_source",
    "tryouts",
)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data")


def _text(node: ast.expr) -> str | None:
    """A text as written, with 7 for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "7" for part in node.values)
    return None


def _sentences() -> Iterator[str]:
    for name in SPEAKING:
        for node in ast.walk(ast.parse((SERVER / "services" / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "broken":  # what of a plan the rules forbid
                yield from filter(None, (_text(each.value) for each in ast.walk(node) if isinstance(each, ast.Assign)))
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = _text(node.exc.args[0])
                if text is not None and ast.unparse(node.exc.func) != "MistakeError":  # that is told in a terminal
                    yield text


def _actions() -> Iterator[str]:
    for path in (SERVER / "services").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_record = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_record and ast.unparse(node.func) == "audit.record":  # type: ignore[attr-defined]
                text = _text(node.args[3])  # type: ignore[attr-defined]
                assert text is not None
                yield text


def test_every_sentence_has_its_ukrainian(app: Flask) -> None:
    sentences = {text for text in _sentences() if "no account has" not in text}
    assert len(sentences) > 30
    with app.test_request_context(), force_locale("uk"):
        english = [
            text for text in sorted(sentences) if not _is_cyrillic(" ".join(*beside(RuntimeError(text)).values()))
        ]
    assert english == []


def test_every_action_has_words() -> None:
    found = set(_actions())
    assert len(found) > 25
    for filled in ("account 7", "administrator 7", "link to set 7 made", "consent 7", "run 7"):
        assert filled in found
        assert sum(_fits(filled, action) for action in ACTIONS) >= 2
    assert {action for action in found if "7" not in action} <= ACTIONS.keys()


def test_every_role_and_scope_has_words(app: Flask) -> None:
    assert tuple(ROLES) == tuple(ROLES_MAY) == ALL_ROLES
    assert tuple(SCOPES) == ALL_SCOPES
    with app.test_request_context(), force_locale("uk"):
        words = [*ROLES.values(), *ROLES_MAY.values(), *SCOPES.values(), *ACTIONS.values(), *FACTS.values()]
        assert all(_is_cyrillic(str(word)) for word in (*words, *CONSENTS.values()))


def test_a_sentence_nobody_translated_is_said_as_it_is(app: Flask) -> None:
    with app.test_request_context():
        assert said("something else is wrong; mend it") == "Something else is wrong; mend it."
        assert beside(RuntimeError("plan: is wrong"), "plan") == {"plan": ["Plan: is wrong."]}
        assert said("this is for a coordinator, and your role here is viewer; ask the federation's administrator") == (
            "This takes the role coordinator, and yours here is viewer. Ask the federation's administrator."
        )


def _is_cyrillic(text: str) -> bool:
    return re.search(r"[\u0400-\u04ff]", text) is not None


def _fits(pattern: str, text: str) -> bool:
    before, _, after = pattern.partition("7")
    return text.startswith(before) and text.endswith(after)
