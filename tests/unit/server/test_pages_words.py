"""Every sentence that a service of people says, and every action that it notes, has words on the pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import pytest
from flask import Flask
from flask_babel import force_locale

import fedflow.server
from fedflow.client.consent import BY_POLICY, DECLINED, OTHER_VERSION
from fedflow.errors import UpdateError
from fedflow.federation.firewall import Manifest, inspect
from fedflow.passwords import weakness
from fedflow.server.pages.faults import FIELDS, beside, said
from fedflow.server.pages.run_words import CONSENTS
from fedflow.server.pages.words import ACTIONS, FACTS, LETTER_KINDS, ROLES, ROLES_MAY, SCOPES
from fedflow.server.services.heldout import NOT_SCORED
from fedflow.server.services.identity import SCOPES as ALL_SCOPES
from fedflow.server.services.letters import Kind
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

PACKAGE = SERVER.parent
LEAVING_BEHIND = (
    "aggregation/fedavg",
    "aggregation/update",
    "federation/firewall",
    "generation/pictures",
    "lora/factors",
    "models/adapter_files",
    "models/adapters",
    "models/base_model",
    "models/checkpoints",
    "models/opening",
    "models/sampling",
    "models/saving",
    "models/weights",
    "server/services/audit",
    "server/services/base_models",
    "server/services/refusals",
    "server/services/runs",
    "models/adapter_intake",
    "server/worker/downloads",
    "server/worker/evaluation",
    "server/worker/imports",
    "server/worker/main",
    "models/archives",
    "models/model_intake",
    "models/pickles",
    "server/worker/tasks",
    "server/worker/tryouts",
    "storage/blobs",
    "tensors/arithmetic",
    "tensors/header",
    "tensors/stream",
)
"""Whose sentences a job, a run, a try-out, an import, a refusal or the log's chain keeps."""

ON_NO_PAGE = {
    "7: the round's start cannot be used: 7": "the device that hands in is told",
    "model '7' has no LoRA layers; add them with add_lora or set_adapter": "of a training, on a member's machine",
    "the adapter mixes ranks or alphas 7; merge it into the base instead": "of a training, on a member's machine",
    "metadata '7' tells of the training pictures and must not leave; leave it out": "the server writes none",
    "weighting '7' is unknown; choose one of 7": "a plan has been checked",
    "pictures to start from have shape 7; give 7 of 7 by 7 pixels": "the server starts from noise",
    "7 prompts, but 7 seeds; give one seed for each prompt": "workers give one for each",
    "the mean of nothing: add a tensor first": "a round of no updates is not closed",
    "there are no updates to aggregate; give at least one": "a round of no updates is not closed",
    "7: is there already and no model; move it away or choose another folder": "workers write into new folders",
    "7: is not there; check the path": "of files that a person names in a terminal",
    "7: changed while it was copied; try again when nothing writes it": "of files that a person names in a terminal",
    "7 is not a SHA-256 of 64 hexadecimal digits; check where it came from": "the database names files",
    "7: '7': 7": "stands around a sentence of lora/factors, whose whole is among `WHOLE`",
    "7: 7": "stands around what of a plan the rules forbid, which have words",
}
"""Sentences that no reader of pages can come to see, and why."""

WHOLE = {
    "a.safetensors: 'unet.x': LoRA factors of shapes A (4, 8) and B (8, 2) do not belong together; expected A (rank, "
    "inputs) and B (outputs, rank), or those of a convolution": (
        "“a.safetensors” is damaged or incomplete (“unet.x”). Export it again."
    ),
    "unet: tensor 'a' holds NaN or Inf (3 of 9 values); the training diverged: lower its learning rate and train "
    "again, or leave this update out": (
        "“unet” holds values that are not numbers (“a”): its training has diverged. Train again with a lower learning "
        "rate."
    ),
    "m: cannot be opened (Error no file named x; see the docs); check the path or fetch the model again": (
        "“m” cannot be opened as a model (Error no file named x; see the docs). Check it, or fetch the model again."
    ),
    "m.safetensors: cannot be opened (Permission denied); check the path": (
        "“m.safetensors” cannot be read on the server (Permission denied). Check it, then try again."
    ),
    "RuntimeError: no kernel\nfor this": (
        "Unexpected fault (RuntimeError: no kernel\nfor this). Try again; the worker's log says more."
    ),
    "the worker gave up; its log says more": "The worker gave up on this job. Its log says more.",
    "place: this server has no folder to import from; start it with --imports FOLDER": (
        "This server has no folder to import from. Whoever runs it can start it with --imports FOLDER."
    ),
    "entries 4 to 7 were taken off the end": "Entries 4 to 7 were removed from the end.",
    "and perhaps more": "There may be more.",
    "what the last look found was altered": "The record of what the last check found was altered.",
}
"""What is put together of several parts or kept without being raised, and what pages say of it."""


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data")


def _text(node: ast.expr, constants: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """A text as written, with `constants` by their names, and 7 for everything else that is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part, constants) for part in node.values)
    return None


def _part(part: ast.expr, constants: Mapping[str, str]) -> str:
    if isinstance(part, ast.FormattedValue):
        return constants.get(ast.unparse(part.value), "7")
    return str(part.value) if isinstance(part, ast.Constant) else "7"


def _sentences() -> Iterator[str]:
    for name in SPEAKING:
        for node in ast.walk(ast.parse((SERVER / "services" / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "broken":  # what of a plan the rules forbid
                yield from filter(None, (_text(each.value) for each in ast.walk(node) if isinstance(each, ast.Assign)))
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = _text(node.exc.args[0])
                if text is not None and ast.unparse(node.exc.func) != "MistakeError":  # that is told in a terminal
                    yield text


def _left_behind(tree: ast.Module) -> Iterator[str]:
    """What a module raises, but not `header`'s few words for its own sentence, and what it keeps without raising."""
    constants = {
        ast.unparse(each.targets[0]): each.value.value
        for each in tree.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
    }
    for node in ast.walk(tree):
        told: list[ast.expr] = []
        if isinstance(node, ast.Raise | ast.Return):
            made = node.exc if isinstance(node, ast.Raise) else node.value
            if isinstance(made, ast.Call) and _makes_an_error(ast.unparse(made.func), isinstance(node, ast.Raise)):
                told = made.args[:1]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "faults.append":
            told = node.args
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "died":
            told = [node.value]
        yield from filter(None, (_text(each, constants) for each in told))


def _makes_an_error(name: str, is_raised: bool) -> bool:
    """Whether a call makes an error of its sentence; a function that returns one is told a part of it only."""
    return name.endswith("Error") if not is_raised else name not in ("_DamagedError", "overflow")


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


@pytest.mark.parametrize("password", ["short", "x" * 201, "passwordpassword"])
def test_why_a_password_is_not_taken_has_its_ukrainian(app: Flask, password: str) -> None:
    with app.test_request_context(), force_locale("uk"):
        assert _is_cyrillic(said(str(weakness(password))))


def test_what_is_left_behind_has_its_ukrainian(app: Flask) -> None:
    sources = [(PACKAGE / f"{name}.py").read_text(encoding="utf-8") for name in LEAVING_BEHIND]
    sentences = {text for source in sources for text in _left_behind(ast.parse(source))}
    assert len(sentences) > 90
    assert sentences >= ON_NO_PAGE.keys(), "an exception that nothing needs"
    kept = {DECLINED, BY_POLICY, OTHER_VERSION, NOT_SCORED.format(name="demo"), *WHOLE}
    with app.test_request_context(), force_locale("uk"):
        english = [
            text
            for text in sorted(sentences - ON_NO_PAGE.keys() | kept)
            if not _is_cyrillic(said(_without_field(text)))
        ]
    assert english == []


def test_what_is_left_behind_is_said_with_its_values(app: Flask, tmp_path: Path) -> None:
    update = tmp_path / "update"
    update.write_bytes(b"no header")
    with app.test_request_context():
        assert {text: said(text) for text in WHOLE} == WHOLE
        with pytest.raises(UpdateError) as refused:
            inspect(update, 7, Manifest({}, max_norm=1.0, max_examples=7))
        assert said(str(refused.value)).startswith("The update arrived damaged, or is not a safetensors file.")
        with pytest.raises(UpdateError) as refused:
            inspect(update, 8, Manifest({}, max_norm=1.0, max_examples=7))
        assert said(str(refused.value)) == (
            "The update counts 8 pictures, and this member may have 7 at most. Its coordinator can allow more."
        )


def test_every_action_has_words() -> None:
    found = set(_actions())
    assert len(found) > 25
    for filled in ("account 7", "administrator 7", "link to set 7 made", "consent 7", "run 7"):
        assert filled in found
        assert sum(_fits(filled, action) for action in ACTIONS) >= 2
    assert {action for action in found if "7" not in action} <= ACTIONS.keys()


def test_every_role_scope_and_letter_has_words(app: Flask) -> None:
    assert tuple(ROLES) == tuple(ROLES_MAY) == ALL_ROLES
    assert tuple(SCOPES) == ALL_SCOPES
    assert tuple(LETTER_KINDS) == get_args(Kind)
    with app.test_request_context(), force_locale("uk"):
        words = [*ROLES.values(), *ROLES_MAY.values(), *SCOPES.values(), *ACTIONS.values(), *FACTS.values()]
        assert all(_is_cyrillic(str(word)) for word in (*words, *CONSENTS.values()))


def test_a_sentence_nobody_translated_is_said_as_it_is(app: Flask) -> None:
    with app.test_request_context():
        assert said("something else is wrong; mend it") == "Something else is wrong; mend it."
        assert beside(RuntimeError("plan: is wrong"), "plan") == {"plan": ["Plan: is wrong."]}
        assert said("this is for a coordinator, and your role here is viewer; ask the federation's administrator") == (
            "This needs the role coordinator, and yours here is viewer. Ask the federation's administrator."
        )


def _without_field(text: str) -> str:
    """The sentence without the field that a form shows it beside."""
    named, _, rest = text.partition(": ")
    return rest if named in FIELDS else text


def _is_cyrillic(text: str) -> bool:
    return re.search(r"[\u0400-\u04ff]", text) is not None


def _fits(pattern: str, text: str) -> bool:
    before, _, after = pattern.partition("7")
    return text.startswith(before) and text.endswith(after)
