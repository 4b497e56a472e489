"""WD-style taggers: `model.onnx` with `selected_tags.csv` beside it, run by onnxruntime on the processor.

The form of SmilingWolf's wd-v1-4 and wd-v3 taggers: one input (n, side, side, 3), BGR, float32, 0 to 255; one output
(n, tags), sigmoids. Ratings are left out; characters need a surer score than general tags.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedflow.errors import MistakeError, ModelError
from fedflow.tagging.tagger import above, white_squares

MODEL_FILE = "model.onnx"
TAGS_FILE = "selected_tags.csv"
LIBRARY = "onnxruntime"
GENERAL, CHARACTER, RATING = "0", "4", "9"
GENERAL_THRESHOLD = 0.35
CHARACTER_THRESHOLD = 0.85


@dataclass(frozen=True)
class WdTagger:
    """An open session and its tags; `categories` are those of the file, one for each name."""

    name: str
    session: Any
    input_name: str
    names: list[str]
    categories: list[str]
    picture_size: int
    batch: int | None
    threshold: float = GENERAL_THRESHOLD

    def tags(self, pictures: np.ndarray, threshold: float | None = None) -> list[list[tuple[str, float]]]:
        """As `tagger.Tagger.tags`; ModelError where the model's answer has another shape than its list of tags."""
        general = self.threshold if threshold is None else threshold
        least = {GENERAL: general, CHARACTER: max(general, CHARACTER_THRESHOLD), RATING: np.inf}
        least_t = np.array([least[category] for category in self.categories])
        squares = white_squares(pictures, self.picture_size)
        found: list[list[tuple[str, float]]] = []
        step = self.batch or max(1, len(squares))
        for start in range(0, len(squares), step):
            bgr = np.ascontiguousarray(squares[start : start + step, :, :, ::-1], dtype=np.float32)
            given = len(bgr)
            if self.batch is not None and given < step:  # a model of a fixed batch takes no less
                bgr = np.concatenate([bgr, np.zeros((step - given, *bgr.shape[1:]), np.float32)])
            try:
                scores = np.asarray(self.session.run(None, {self.input_name: bgr})[0])[:given]
            except Exception as error:  # onnxruntime has errors of its own for each status
                raise ModelError(f"{self.name}: the tagger failed ({_line(error)}); fetch it again") from error
            if scores.shape != (given, len(self.names)):
                raise ModelError(
                    f"{self.name}: gives {scores.shape[-1]} scores, {TAGS_FILE} has {len(self.names)} tags; "
                    "fetch both files of one model"
                )
            found += [above(self.names, scores_t, least_t) for scores_t in scores]
        return found


def wd_tagger(path: Path, name: str | None = None) -> WdTagger:
    """The tagger at `path`, an .onnx file or a folder with `model.onnx`; its `selected_tags.csv` lies beside it.

    Raises MistakeError where onnxruntime is not installed, ModelError for files that are missing or of another form.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise MistakeError(f"ONNX taggers need {LIBRARY}: pip install 'fedflow[tagging]'")
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        raise ModelError(f"{file}: no such file; give a tagger's .onnx file or the folder with {MODEL_FILE}")
    names, categories = _read_tags(file.with_name(TAGS_FILE))
    onnxruntime = importlib.import_module(LIBRARY)
    onnxruntime.set_default_logger_severity(4)
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"{file}: is no ONNX model that can be opened ({_line(error)}); fetch it again") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[3] != 3 or not isinstance(shape[1], int) or shape[1] != shape[2]:
        raise ModelError(f"{file}: takes {shape}, a WD tagger takes (n, side, side, 3); give a tagger of that form")
    batch = shape[0] if isinstance(shape[0], int) else None
    return WdTagger(name or str(path), session, inputs[0].name, names, categories, shape[1], batch)


def _read_tags(path: Path) -> tuple[list[str], list[str]]:
    """Names and categories, in the order of the model's output."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        names, categories = [row["name"] for row in rows], [row["category"] for row in rows]
    except FileNotFoundError:
        raise ModelError(f"{path}: is not there; it comes with the tagger, put it beside the .onnx file") from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise ModelError(f"{path}: cannot be read as tags ({type(error).__name__}); fetch it again") from error
    wrong = [
        number
        for number, (name, category) in enumerate(zip(names, categories, strict=True), start=2)
        if not name or "," in name or category not in (GENERAL, CHARACTER, RATING)
    ]
    if wrong or not names:
        raise ModelError(f"{path}: line {wrong[0] if wrong else 2} is no tag with category 0, 4 or 9; fetch it again")
    return names, categories


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
