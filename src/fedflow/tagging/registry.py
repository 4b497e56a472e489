"""Which taggers there are, and opening one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedflow.errors import MistakeError
from fedflow.plan import HUB
from fedflow.tagging.icons_v1 import NAME, icons_tagger
from fedflow.tagging.tagger import Tagger
from fedflow.tagging.wd import MODEL_FILE, TAGS_FILE, wd_tagger

TAGGERS: dict[str, Callable[[], Tagger]] = {NAME: icons_tagger}


def open_tagger(name: str) -> Tagger:
    """A tagger by its name in `TAGGERS`, an .onnx file or its folder, or 'hub:OWNER/NAME'.

    Raises MistakeError (ModelError among them), one line, for what is none of these or cannot be opened or reached;
    StorageError where the shipped one is damaged.
    """
    if name in TAGGERS:
        return TAGGERS[name]()
    if name.startswith(HUB):
        from fedflow.models import hub_files  # noqa: PLC0415  # takes seconds: diffusers

        return wd_tagger(hub_files(name.removeprefix(HUB), [MODEL_FILE, TAGS_FILE]), name)
    path = Path(name).expanduser()
    if path.exists() or path.suffix.lower() == ".onnx":
        return wd_tagger(path)
    raise MistakeError(f"tagger '{name}': unknown; give {', '.join(TAGGERS)}, an .onnx file or hub:OWNER/NAME")
