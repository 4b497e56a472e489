"""Keep the pages' texts in step with the code: extract, update every catalogue, compile.

`make messages` runs it after a text changed; what it then names is to be written by hand in the .po files.
`python scripts/messages.py --check` changes nothing and ends with 1 where a catalogue is behind or a text is missing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from fedflow.client.policy import Policy
from fedflow.client.services.drawings import DrawSettings
from fedflow.client.services.memberships import JoinRequest
from fedflow.client.services.shelving import ImportRequest
from fedflow.client.services.trainings import TrainRequest
from fedflow.plan import Plan
from fedflow.server.services.policies import Policies
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.server.settings import ServerSettings
from fedflow.web.forms import UNITS, messages
from fedflow.web.languages import LANGUAGES

ROOT = Path(__file__).resolve().parent.parent
SOURCE_LANGUAGE = "en"
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)
"""The date of every compiled catalogue, so that the same texts are the same bytes."""


def of_the_plan() -> Iterator[str]:
    """Labels and help of the forms that are made from the plan's settings."""
    yield from messages(Plan)
    yield from UNITS.values()


def of_the_forms() -> Iterator[str]:
    """Labels and help of the forms made from a federation's rules and a try-out's request; the server's settings."""
    yield from messages(Policies)
    yield from messages(TryoutRequest)
    yield from (info.description or "" for info in ServerSettings.model_fields.values())


def of_the_app() -> Iterator[str]:
    """Labels and help of the forms of the participant's app."""
    for model in (DrawSettings, TrainRequest, ImportRequest, JoinRequest, Policy):
        yield from messages(model)


@dataclass(frozen=True)
class Room:
    """A part of the package with texts of its own, in `folder`/translations."""

    folder: Path
    further: Callable[[], Iterator[str]] = lambda: iter(())


ROOMS = (
    Room(ROOT / "src" / "fedflow" / "web", of_the_plan),
    Room(ROOT / "src" / "fedflow" / "server" / "pages", of_the_forms),
    Room(ROOT / "src" / "fedflow" / "client" / "pages", of_the_app),
)


def main(arguments: list[str]) -> int:
    """0, or 1 with a line for each text that lacks its translation and, with --check, each file that is behind."""
    said = [line for room in ROOMS for line in work_on(room, write="--check" not in arguments)]
    print("\n".join(said), end="\n" if said else "", file=sys.stderr)
    return 1 if said else 0


def work_on(room: Room, write: bool) -> list[str]:
    """Bring the room's catalogues up to date, or only look; what is still to do."""
    template = extract(room)
    todo = []
    for language in LANGUAGES:
        if language == SOURCE_LANGUAGE:
            continue
        po = room.folder / "translations" / language / "LC_MESSAGES" / "messages.po"
        mo = po.with_suffix(".mo")
        catalog = updated(po, language, template)
        for path, content in ((po, as_po(catalog)), (mo, as_mo(catalog))):
            if path.exists() and path.read_bytes() == content:
                continue
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            else:
                todo.append(f"{path.relative_to(ROOT)}: behind the code; run 'make messages'")
        todo += [
            f"{po.relative_to(ROOT)}: no {LANGUAGES[language]} for {message.id!r}"
            for message in catalog
            if message.id and (message.fuzzy or not all([message.string] if _one(message.string) else message.string))
        ]
    return todo


def extract(room: Room) -> Catalog:
    """Every text of the room's code, templates and settings."""
    with (ROOT / "babel.cfg").open(encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)
    catalog = Catalog(project="FedFlow", charset="utf-8")
    found = extract_from_dir(room.folder, methods, options, keywords=KEYWORDS)
    for _, _, text, _, context in sorted(found, key=lambda one: (one[0], one[1])):
        catalog.add(text, context=context)
    for text in room.further():
        if text:
            catalog.add(text)
    return catalog


KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "lazy_gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "lazy_pgettext": ((1, "c"), 2),
}


def updated(path: Path, language: str, template: Catalog) -> Catalog:
    """The catalogue at `path` with exactly the texts of `template`, nothing guessed."""
    catalog = Catalog(locale=language, project="FedFlow", charset="utf-8", fuzzy=False)
    known = read_po(io.BytesIO(path.read_bytes()), locale=language) if path.exists() else Catalog(locale=language)
    for message in template:
        if message.id:
            old = known.get(message.id, message.context)
            flags = message.flags - {"fuzzy"}
            catalog.add(message.id, old.string if old else "", flags=flags, context=message.context)
    return catalog


def as_po(catalog: Catalog) -> bytes:
    """The catalogue as people edit it, without dates that change by themselves."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=0, sort_output=False, omit_header=True)
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Language": str(catalog.locale),
        "Plural-Forms": catalog.plural_forms,
    }
    head = "".join(f'"{name}: {value}\\n"\n' for name, value in headers.items())
    return f'msgid ""\nmsgstr ""\n{head}\n'.encode() + buffer.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """The catalogue as the program reads it, of the same texts always the same bytes."""
    whole = read_po(io.BytesIO(as_po(catalog)), locale=catalog.locale)
    whole.creation_date = whole.revision_date = UNDATED
    buffer = io.BytesIO()
    write_mo(buffer, whole)
    return buffer.getvalue()


def _one(string: object) -> bool:
    return isinstance(string, str)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
