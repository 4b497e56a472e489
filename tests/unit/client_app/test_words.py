"""Every sentence that the app, its worker and participant, their server and the rooms below say has words on pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale
from tests.unit.client_app.conftest import Visitor

import fedflow
from fedflow.client.consent import DECLINED, NOT_KNOWN
from fedflow.client.database.tables import Membership
from fedflow.client.pages.faults import reason, said
from fedflow.client.services import drawings, jobs, memberships
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.store import Store
from fedflow.storage import atomic

UKRAINIAN = {"Accept-Language": "uk"}

PACKAGE = Path(fedflow.__file__).parent
CLIENT = (
    *(f"client/{room}" for room in ("base", "connection", "consent", "home", "identity", "memory", "participant")),
    *(f"client/{room}" for room in ("policy", "training", "transfer")),
    "client/pages/datasets_uploads",
    "client/pages/generate",
    "client/pages/generate_form",
)
FOLDERS = ("client/services", "client/worker", "datasets", "lora", "models", "tagging", "tensors")
ROOMS = (
    "federation/workbench",
    "generation/pictures",
    "generation/reading",
    "storage/atomic",
    "storage/blobs",
    "storage/json_files",
    "training/caches",
    "training/checkpoint",
    "training/loop",
)
SERVERS = (
    "federation/firewall",
    "server/services/devices",
    "server/services/files",
    "server/services/updates",
    "server/services/upload_writing",
    "server/services/uploads",
    "server/services/work",
)
"""What a server says to a participant."""

ANSWERS = frozenset(
    {
        "_finished",
        "_nothing_usable",
        "_too_large",
        "_too_little_privacy",
        "_too_much",
        "_unidentified",
        "_unwanted",
        "_why_waiting",
        "holds_back",
        "lack",
        "refusal",
    }
)
"""Functions that return a sentence without raising it."""

TOLD_BY = {
    "self._say": 0,
    "self._tell": 0,
    "self.trouble": 0,
    "say": 0,
    "tries.failed": 0,
    "Problem": 1,
    "found.append": 0,
    "self._readiness.give_up": 3,
}
"""What a sentence is handed to that is not raised, and as which argument."""

ERRORS = frozenset({"NoUpdate", "Refused", "Unavailable", "Unwanted", "error"})
"""Errors whose names do not say so."""

IN_A_TERMINAL = "the app has no command line of its own: of 'fedflow join' and its like"
PUT_TOGETHER = "stands around parts; the whole is among `WHOLE`"

ON_NO_PAGE = {
    "run '7' asks for consent and nobody is at a terminal; run the same command in one, or with --accept and limits "
    "(--max-rounds, --policy)": IN_A_TERMINAL,
    "this machine has not joined a federation yet (7); give the server's URL and --code": IN_A_TERMINAL,
    "this machine takes part in several federations; choose with --home: 7": IN_A_TERMINAL,
    "7: the policy cannot be read (7); check the path": IN_A_TERMINAL,
    "7: not UTF-8 text (byte 7); save the policy as UTF-8": IN_A_TERMINAL,
    "7: not valid TOML: 7": IN_A_TERMINAL,
    "7: is not UTF-8; save the list of names as UTF-8": IN_A_TERMINAL,
    "'7': is no country's code; give two letters such as UA or DE": IN_A_TERMINAL,
    "run '7': 7": PUT_TOGETHER,
    "server: 7": PUT_TOGETHER,
    "place: 7": PUT_TOGETHER,
    "the policy wants 7, and the run allows 7": PUT_TOGETHER,
    "7: 7": PUT_TOGETHER,
    "7: 7 7; the first: 7": PUT_TOGETHER,
    "7: 7; name a folder of pictures": PUT_TOGETHER,
    "is very 7 (7x7); its middle square is seen": PUT_TOGETHER,
    "the caption of 77 changed meanwhile; look at it, and change it anew": PUT_TOGETHER,
    "7: '7': 7": PUT_TOGETHER,
    "7 waits for 77": PUT_TOGETHER,
    "7 is being aggregated": PUT_TOGETHER,
    "7 goes without this member": PUT_TOGETHER,
    "run '7' is 7": PUT_TOGETHER,
    "this run does not ask any more": "the page shows buttons of runs that are there alone",
    "only the log of a federation that was left is deleted": "the page shows buttons of those alone",
    "'7': is none of 7": "the page's own buttons send what is known",
    "metadata '7' tells of the training pictures and must not leave; leave it out": "of what a server writes",
    "model '7' has no LoRA layers; add them with add_lora or set_adapter": "the worker adds them",
    "model '7' has no LoRA layers to train; add them with add_lora or set_adapter": "the worker adds them",
    "7 pictures, but 7 captions; cache both from the same dataset": "the worker takes both from one",
    "7 prompts, but 7 seeds; give one seed for each prompt": "the worker gives one for each",
    "pictures to start from have shape 7; give 7 of 7 by 7 pixels": "the worker scales them",
    "no pictures of '7' here; the folders given are of 7": "of a server's held-out pictures",
    "7: has 7 bytes on the hub, 7 are allowed; take a smaller one": "the app sets no such limit",
    "'7' is not a SHA-256 of 64 hexadecimal digits; check where it came from": "routes check it",
    "7: changed while it was copied; try again when nothing writes it": "the app moves its files",
    "7: the round's start cannot be used: 7": "of a server's own files",
    "public_key: 7 bytes; an Ed25519 public key has 7": "this machine sends one",
    "7: is not base64 (7)": "this machine sends base64",
    "the account of this token was closed; ask an administrator": "of a person's token",
}
"""Sentences that no reader of pages can come to see, and why."""

ROUND = "round 3 of run 'icons'"
WHOLE = {
    "/home/a/.fedflow: cannot be written (database or disk is full); free space on its disk, then resume": (
        "The app's folder cannot be written (database or disk is full). Free space on its disk, then resume."
    ),
    "RuntimeError: no kernel": (
        "Something unexpected failed (RuntimeError: no kernel). Try again; the terminal in which the app was started "
        "says more."
    ),
    "/p: the only file cannot be used; the first: /p/a.png: is an empty file; replace it or remove it": (
        "/p: its only file cannot be used: /p/a.png: is an empty file; replace it or remove it."
    ),
    "/p: none of 3 files can be used; the first: /p/a.png: is an empty file; replace it or remove it": (
        "/p: none of its 3 files can be used; the first is /p/a.png: is an empty file; replace it or remove it."
    ),
    "/p: is not there; name a folder of pictures": "/p: is not there; check the folder.",
    "/p: is a file and not a folder; name a folder of pictures": (
        "/p: is a file and not a folder; name a folder of pictures."
    ),
    "/p/a.png: is an empty file; replace it or remove it": "/p/a.png: is an empty file; replace it or remove it.",
    "is very wide (900x9); its middle square is seen": "Is very wide (900x9); its middle square is seen.",
    "is very tall (9x900); its middle square is seen": "Is very tall (9x900); its middle square is seen.",
    "none of the captions would be changed by it": "None of the captions would be changed by it.",
    "captions with no other tag stay as they are: a picture without a tag cannot be trained on": (
        "Captions with no other tag stay as they are: a picture without a tag cannot be trained on; choose “Remove "
        "captions” to empty them all the same."
    ),
    "the caption of a.png and 2 more were changed meanwhile; look at it, and change it anew": (
        "The caption of a.png was changed meanwhile (and others: 2); look at it, and change it anew."
    ),
    "the caption of a.png was changed meanwhile; look at it, and change it anew": (
        "The caption of a.png was changed meanwhile; look at it, and change it anew."
    ),
    "a.safetensors: 'unet.x': LoRA factors of shapes A (4, 8) and B (8, 2) do not belong together; expected A (rank, "
    "inputs) and B (outputs, rank), or those of a convolution": (
        "“a.safetensors” is damaged or incomplete (“unet.x”). Export it again."
    ),
    "/p/x: disk full (needs about 3 MB more); free space and run the same command again": (
        "The disk is full, so “/p/x” was not written. Free some space, then try again."
    ),
    "/p/x: disk quota used up (needs about 3 MB more); free space and run the same command again": (
        "The disk is full, so “/p/x” was not written. Free some space, then try again."
    ),
    "/p/x: cannot be written (Bad file); check the disk or choose another folder": (
        "“/p/x” cannot be written (Bad file). Check the disk, then try again."
    ),
    "/p: not the weights of icons-v1 (KeyError); install fedflow anew": (
        "The weights of icons-v1 are damaged in this installation. Install FedFlow again."
    ),
    "run 'icons': you take part": "You take part in “icons”.",
    "run 'icons': declined: the owner of this machine declined": "“icons” is declined. You declined.",
    "run 'icons', round 3: waiting, as the policy allows training at 22:00-06:00": (
        "“icons”, round 3, waits. You allow training at 22:00-06:00."
    ),
    "run 'icons': no answer yet, as /p: is not there; name a folder of pictures": (
        "“icons” has no answer yet. /p: is not there; check the folder."
    ),
    "https://x: the server does not answer (timed out); check the address and the network; trying on": (
        "The server does not answer (timed out). Check its address and the network. It is tried again and again."
    ),
    "the policy wants rounds joined of at least 3 updates, and the run allows 2": (
        "You want rounds joined of at least 3 updates, and the run allows 2."
    ),
    "the loss of step 3 is nan; lower the learning rate or train in float32; this machine goes without this round": (
        "The training diverged at step 3. Start a new one with a lower learning rate, or in float32. This machine goes "
        "without this round."
    ),
    "upload of update: no byte moved for 90 s (the server answered 502 Bad Gateway); try again later": (
        "Nothing came through for 90 seconds (the server answered 502 Bad Gateway). Try again later."
    ),
    "download of base: there is no file 77 for this caller": (
        "The server does not have this file any more, or does not show it to this machine."
    ),
    "upload of update: the upload has expired; start it anew": "The update was lost on the way. It is sent again.",
    f"{ROUND} is being aggregated": "Round 3 of “icons” is being joined.",
    f"{ROUND} goes without this member": "Round 3 of “icons” goes without you.",
    f"{ROUND} waits for a, b": "Round 3 of “icons” waits for a, b.",
    f"{ROUND} waits for a, b and 4 more": "Round 3 of “icons” waits for a, b and others (4).",
    "run 'icons' is being prepared by the server": "The server is preparing “icons”.",
    "run 'icons' is paused by its coordinator": "The coordinator has paused “icons”.",
    "run 'icons' has failed: no room; its coordinator can resume it": (
        "“icons” has failed; its coordinator can resume it. No room."
    ),
    "run 'icons' is done": "“icons” is done.",
    "run 'icons' is stopped": "“icons” was stopped.",
    "the server's disk is full; its coordinator must free space, then try again": (
        "The server's disk is full. Its administrator must free space; then try again."
    ),
    "too many requests came from you; wait 9 seconds, and try again": (
        "Too many requests came from this machine. Wait 9 seconds, then try again."
    ),
    "this server speaks protocol 2, the client 1; install the same version of FedFlow on both sides": (
        "The server has another version of FedFlow. Install the same one on both sides."
    ),
}
"""What is put together of several parts, or said by a server of itself, and what a page says of it."""


@pytest.fixture
def app(visitor: Visitor) -> Flask:
    return visitor.client.application


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    """A text as written, with `constants` by their names, and 7 for everything else that is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part, constants) for part in node.values)
    return constants.get(ast.unparse(node))


def _part(part: ast.expr, constants: dict[str, str]) -> str:
    if isinstance(part, ast.FormattedValue):
        filled = constants.get(ast.unparse(part.value), "7")
        return f"'{filled}'" if part.conversion == ord("r") else filled
    return str(part.value) if isinstance(part, ast.Constant) else "7"


def _sentences(path: Path) -> Iterator[str]:
    """What a module raises, returns as an error, or tells otherwise."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        ast.unparse(each.targets[0]): each.value.value
        for each in tree.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
    }
    for node in ast.walk(tree):
        yield from filter(None, (_text(each, constants) for each in _told(node)))


def _told(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Raise | ast.Return):
        made = node.exc if isinstance(node, ast.Raise) else node.value
        if isinstance(made, ast.Call) and _makes_an_error(ast.unparse(made.func), isinstance(node, ast.Raise)):
            yield from made.args[1:2] if ast.unparse(made.func) == "CaptionError" else made.args[:1]
    elif isinstance(node, ast.Call) and (place := TOLD_BY.get(ast.unparse(node.func))) is not None:
        yield from node.args[place : place + 1]
    elif isinstance(node, ast.FunctionDef) and node.name in ANSWERS:
        for each in ast.walk(node):
            if isinstance(each, ast.Return):
                yield from _returned(each.value)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Work":
        yield from (each.value for each in node.keywords if each.arg == "text")
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("text", "reason"):
        yield node.value


def _returned(value: ast.expr | None) -> list[ast.expr]:
    """What a function returns that may be a sentence; of several things, the first."""
    if isinstance(value, ast.IfExp):
        return [value.body, value.orelse]
    if isinstance(value, ast.Tuple):
        return value.elts[:1]
    return [] if value is None else [value]


def _makes_an_error(name: str, is_raised: bool) -> bool:
    """Whether a call makes an error of its sentence; a function that returns one is told a part of it only."""
    if name in ("ValueError", "KeyboardInterrupt", "AttributeError", "FileExistsError", "_DamagedError"):
        return False  # of those that call the code; what settings say, `setting_faults` has
    return is_raised or name.endswith("Error") or name in ERRORS


def _of(*names: str) -> set[str]:
    return {text for name in names for text in _sentences(PACKAGE / f"{name}.py")}


def _of_folders() -> set[str]:
    paths = [path for folder in FOLDERS for path in sorted((PACKAGE / folder).glob("*.py"))]
    return {text for path in paths for text in _sentences(path)}


def test_every_sentence_has_its_ukrainian(app: Flask) -> None:
    here = _of(*CLIENT, *ROOMS) | _of_folders()
    servers = _of(*SERVERS)
    assert len(here) > 250
    assert len(servers) > 50
    assert here | servers >= ON_NO_PAGE.keys(), "an exception that nothing needs"
    kept = {DECLINED, NOT_KNOWN, *(f"7: {each}" for each in atomic.REASONS.values()), *WHOLE}
    with app.test_request_context(), force_locale("uk"):
        english = [
            text
            for text in sorted((here | servers) - ON_NO_PAGE.keys() | kept)
            if not _is_cyrillic(said(_without_field(text)))
        ]
    assert english == []


def test_what_is_put_together_is_said_with_its_values(app: Flask) -> None:
    with app.test_request_context():
        assert {text: said(text) for text in WHOLE} == WHOLE


def test_what_nobody_wrote_words_for_is_said_as_it_is(app: Flask) -> None:
    with app.test_request_context():
        assert said("something else is wrong; mend it") == "Something else is wrong; mend it."
        assert reason("something else is wrong.") == "something else is wrong"


def test_a_failed_job_says_why_in_ukrainian(store: Store, visitor: Visitor) -> None:
    with store.begin() as session:
        asked = DrawRequest(prompt="a cat").model_dump(mode="json")
        job_id = jobs.add(session, drawings.KIND, "a cat", asked, 1, store.clock()).id
    jobs.end(store, job_id, jobs.FAILED, "the model is no longer in the library; choose another")
    page = visitor.client.get("/activity", headers=UKRAINIAN).text
    assert "Моделі вже немає в бібліотеці. Виберіть іншу." in page
    assert "no longer" not in page


def test_a_refused_form_says_why_in_ukrainian(store: Store, visitor: Visitor) -> None:
    visitor.client.set_cookie("fedflow_language", "uk")
    refused = visitor.post("/federations/join", server="ftp://x", code="7", device="d", dataset="none")
    assert (refused.status_code, "«ftp://x» — не адреса сервера." in refused.text) == (422, True)
    gone = visitor.post("/federations/join", server="https://x.example", code="AB12-CD34", device="d", dataset="none")
    assert (gone.status_code, "Його вже немає. Виберіть інший." in gone.text) == (422, True)


def test_what_a_participant_says_is_told_in_ukrainian(store: Store, visitor: Visitor) -> None:
    with store.begin() as session:
        session.add(
            Membership(
                id="m", server="https://x.example", federation="Icons", member="studio", dataset_id=None, policy={},
                always=False, is_paused=False, said="", said_at=None, joined_at=0.0,
            )
        )  # fmt: skip
    line = "run 'icons', round 3: waiting, as the policy allows training at 22:00-06:00"
    memberships.say(store, "m", line, "r1", is_held_up=True)
    for address in ("/federations", "/federations/m"):
        page = visitor.client.get(address, headers=UKRAINIAN).text
        assert "«icons», раунд 3: очікування. Ви дозволяєте навчання" in page


def _without_field(text: str) -> str:
    """The sentence without the field that a form shows it beside."""
    named, _, rest = text.partition(": ")
    return rest if named in ("server", "place", "dataset", "start") else text


def _is_cyrillic(text: str) -> bool:
    return re.search(r"[\u0400-\u04ff]", text) is not None
