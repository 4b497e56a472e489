"""What all drawings share: colours, type, and the way from matplotlib into a page."""

from __future__ import annotations

import html
import io
import re

from matplotlib.figure import Figure as Canvas

UNITS_PER_INCH = 72
"""1 unit is 1 pixel of an SVG shown at its own size."""
FONT_SIZE = 12

COLOURS = {
    "ink": "#1b1d21",
    "muted": "#5a616c",
    "grid": "#e4e6ea",
    "accent": "#3454d1",
    "client-1": "#d07c00",
    "client-2": "#a60021",
    "client-3": "#38a169",
    "client-4": "#00565c",
    "client-5": "#c04fc4",
}
"""What is drawn with; in SVG each becomes `var(--chart-NAME, COLOUR)`, so a page can recolour it."""

STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "svg.fonttype": "none",
    "svg.hashsalt": "fedflow",
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


def page_svg(canvas: Canvas, name: str, spoken: str) -> str:
    """The canvas as an `<svg>` element to put into a page, the same bytes for the same drawing; within STYLE's context.

    It scales to its container, sets text in the page's own font, and takes its colours from the page's CSS variables.
    `name` tells the ids of several drawings in one page apart; `spoken` is read aloud in its place, and is plain text.
    """
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].strip()
    # In the markup alone: texts are people's own, and may look like an id or a colour.
    drawing = re.sub(r"<[^>]*>", lambda tag: _for_a_page(tag.group(), name), drawing)
    width, height = (round(inches * UNITS_PER_INCH) for inches in canvas.get_size_inches())
    head = f'<svg role="img" aria-label="{html.escape(spoken)}" viewBox="0 0 {width} {height}"'
    return re.sub(r"<svg [^>]*>", lambda _: head + ' xmlns:xlink="http://www.w3.org/1999/xlink">', drawing, count=1)


def without_styles(drawing: str) -> str:
    """The drawing with attributes in the place of styles, which the pages' Content-Security-Policy forbids."""
    drawing = re.sub(r"<style[^>]*>.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r'style="([^"]*)"', _attributes, tag.group()), drawing)


def _for_a_page(tag: str, name: str) -> str:
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"(font: (?:\w+ )?[\d.]+px) [^;\"]+", r"\1 var(--font, sans-serif)", tag)
    for colour_name, colour in COLOURS.items():
        tag = tag.replace(colour, f"var(--chart-{colour_name}, {colour})")
    return tag


def _attributes(style: re.Match[str]) -> str:
    pairs = (declaration.split(":", 1) for declaration in style[1].split(";") if ":" in declaration)
    named = {name.strip(): value.strip() for name, value in pairs}
    return " ".join(f'{name}="{value}"' for name, value in named.items() if name != "font-family")
