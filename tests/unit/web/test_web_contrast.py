"""Colours: WCAG 2.2 AA contrast of every pair that stands on each other, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fedflow.web

STATIC = Path(fedflow.web.__file__).parent / "static"
TOKENS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)",
        (STATIC / "tokens.css").read_text(encoding="utf-8"),
    )
}
STATES = ("waiting", "running", "done", "refused", "failed")
GROUNDS = ("ground", "surface", "sunken")
TEXT = [
    *((text, on) for text in ("text", "muted") for on in GROUNDS),
    *((text, on) for text in ("accent", "danger") for on in ("ground", "surface")),
    *((text, f"{state}-soft") for state in STATES for text in ("text", "muted", state)),
    *((state, on) for state in STATES for on in ("ground", "surface")),
    ("accent", "accent-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-danger", "danger"),
    ("on-danger", "danger-strong"),
]
SHAPES = [
    *((name, on) for name in ("edge", "accent", "failed") for on in ("ground", "surface")),
    ("running", "sunken"),
    ("done", "sunken"),
    ("failed", "sunken"),
]
"""Borders of fields, the focus, bars: 3 is enough."""


def luminance(colour: str) -> float:
    """Relative luminance. WCAG 2.2, definition of 'relative luminance'."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio. WCAG 2.2, definition of 'contrast ratio'."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("least", "pairs"), [(4.5, TEXT), (3.0, SHAPES)], ids=["text", "shapes"])
def test_pairs_are_told_apart(least: float, pairs: list[tuple[str, str]], theme: str) -> None:
    column = ["light", "dark"].index(theme)
    weak = {
        f"{text} on {on}": round(contrast(TOKENS[text][column], TOKENS[on][column]), 2)
        for text, on in pairs
        if contrast(TOKENS[text][column], TOKENS[on][column]) < least
    }
    assert not weak


def test_no_stylesheet_brings_a_colour_of_its_own() -> None:
    for path in STATIC.glob("*.css"):
        if path.name != "tokens.css":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b", text), path
            assert "gradient" not in text, path
            assert set(re.findall(r"var\(--([a-z-]+)\)", text)) <= TOKENS.keys() | {
                "font",
                "mono",
                "radius",
                "small",
                "quick",
                "veil",
                "cut",
            }
