"""report.html: one file that tells a run in figures and pictures, and needs nothing else to be read."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from fedflow.evaluation.charts import chart_svg
from fedflow.evaluation.curves import curves_of
from fedflow.evaluation.gallery import Column, gallery_columns, prompt_label, shown_rounds
from fedflow.evaluation.summary import RoundFacts, RunSummary
from fedflow.evaluation.table import COLUMNS, REFERENCE_TABLE, Figure, Row, over_seeds, paper_table
from fedflow.plan import AGGREGATED, ALONE, BASE, CENTRAL, FLOOR
from fedflow.storage import write_atomic

MEGABYTE = 1_000_000
LARGEST_PICTURE = 256
"""Side in pixels above which a picture is put in smaller, so that the page stays light."""
DASH = "\N{EN DASH}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

ROUND_FACTS = tuple(field.name for field in fields(RoundFacts) if field.name not in ("seed", "round"))
METHODS = {"fedavg": "FedAvg", "fedit": "FedIT", "fedex-lora": "FedEx-LoRA"}
WEIGHTINGS = {"samples": "by example counts", "uniform": "all alike"}


def write_report(path: Path, summary: RunSummary) -> None:
    """Write the run's report as one HTML file: no request leaves it, it works without JavaScript.

    Pictures that cannot be read stand as empty places. Raises StorageError where it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        fid=fid_text, kid=_kid, megabytes=_megabytes, duration=_duration, percent=_percent, power=_power,
        script_hash=_script_hash, moment=_moment,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        method=METHODS.get(summary.method, summary.method),
        weighting=WEIGHTINGS.get(summary.weighting, summary.weighting),
        state=_state(summary),
        result=result_sentences(summary),
        charts=[_chart(summary, "fid"), _chart(summary, "kid")] if summary.rows else [],
        seeds=sorted({row.seed for row in summary.rows}),
        tables=_tables(summary),
        gallery=_gallery(summary),
        participants=_participants(summary),
        rounds=_rounds(summary.facts),
        has_baselines=any(row.participant == CENTRAL or row.participant.startswith(ALONE) for row in summary.rows),
        has_floor=any(row.participant == FLOOR for row in summary.rows),
        columns=COLUMNS,
        dash=DASH,
    )
    write_atomic(path, page.encode("utf-8", "backslashreplace"))


def _chart(summary: RunSummary, measure: Literal["fid", "kid"]) -> Markup:
    return Markup(chart_svg(curves_of(summary, measure)))  # noqa: S704 - drawn here


def result_sentences(summary: RunSummary) -> list[str]:
    """What came out, in plain words and no more than the figures say."""
    joint, base = _last(summary, AGGREGATED), _last(summary, BASE)
    if not joint:
        return ["No round has been scored yet."]
    fid = _mean(joint, "fid")
    done = joint[0].round
    of_planned = "" if done == summary.num_rounds else f" of {summary.num_rounds}"
    rounds = f"{done}{of_planned} round{'s' if summary.num_rounds > 1 else ''}"
    against = [
        f"{fid_text(_mean(rows, 'fid'), 1)} for {words}"
        for rows, words in ((base, "the untuned base"), (_last(summary, FLOOR), "real against real"))
        if rows
    ]
    comparison = f", against {' and '.join(against)}" if against else ""
    num_seeds = len({row.seed for row in joint})
    seeds = f", mean of {num_seeds} seeds" if num_seeds > 1 else ""
    figures = f"({summary.extractor}, N = {summary.num_heldout}{seeds})"
    sentences = [f"After {rounds} the joint model's FID is {fid_text(fid, 1)}{comparison} {figures}."]
    if base:
        sentences.append(_against_base(joint, base, summary.kid_gain if done == summary.num_rounds else None))
    central = _last(summary, CENTRAL)
    if central and central[0].round == done:
        in_one_place = fid_text(_mean(central, "fid"), 1)
        steps = "as many" if central[0].steps == joint[0].steps else central[0].steps
        sentences.append(f"Training on all pictures in one place, for {steps} steps, gives an FID of {in_one_place}.")
    return sentences


def _against_base(joint: Sequence[Row], base: Sequence[Row], gain: tuple[float, float] | None) -> str:
    """Whether KID, which is unbiased, tells the joint model from the base, by the interval of their difference."""
    ours, theirs = _mean(joint, "kid").mean, _mean(base, "kid").mean
    figures = f"Its KID is {_kid(ours)} against {_kid(theirs)} for the untuned base"
    if gain is None:
        return f"{figures}."
    low, high = gain
    figures = f"{figures}, {_kid(abs(theirs - ours))} {'lower' if ours <= theirs else 'higher'}"
    if low > 0.0:
        return f"{figures}; the 95% interval of that difference, {_kid(low)} to {_kid(high)}, excludes 0."
    if high < 0.0:
        further = "it is further from the held-out pictures than the base"
        return f"{figures}; the 95% interval of that difference, {_kid(-high)} to {_kid(-low)}, excludes 0: {further}."
    if ours > theirs:
        low, high = -high, -low
    chance = "these pictures do not tell the two models apart"
    return f"{figures}; the 95% interval of that difference, {_kid(low)} to {_kid(high)}, includes 0: {chance}."


def _last(summary: RunSummary, participant: str) -> list[Row]:
    """The participant's rows of its last round, one per seed."""
    own = [row for row in summary.rows if row.participant == participant]
    last = max((row.round for row in own), default=0)
    return [row for row in own if row.round == last]


def _mean(rows: Sequence[Row], column: str) -> Figure:
    return over_seeds([getattr(row, column) for row in rows])


def _state(summary: RunSummary) -> tuple[str, str]:
    """(kind, words) of where the run stands: the rounds that every seed has behind it."""
    ended = [(fact.seed, fact.round) for fact in summary.facts]
    ended += [(row.seed, row.round) for row in summary.rows if row.participant == AGGREGATED]
    last: dict[int, int] = {}
    for seed, number in ended:
        last[seed] = max(number, last.get(seed, 0))
    done = min(last.values(), default=0)
    return "done" if done >= summary.num_rounds else "part", f"{done} of {summary.num_rounds} rounds done"


def _tables(summary: RunSummary) -> list[dict[str, Any]]:
    """This run's Table 1, where a round has been scored, and the published one."""
    published = {"title": "Published", "table": REFERENCE_TABLE, "num_pictures": 200}
    table = paper_table(summary.rows)
    if not table.lines:
        return [published]
    return [
        {
            "title": f"This run ({summary.extractor}, N = {summary.num_heldout})",
            "table": table,
            "num_pictures": sum(count for _, count in summary.clients),
        },
        published,
    ]


def _gallery(summary: RunSummary) -> dict[str, Any] | None:
    """The gallery as views (aggregated, then each participant) over the same prompts."""
    if not summary.prompts or not summary.gallery:
        return None
    first = gallery_columns(summary)
    order = [AGGREGATED, *(name for name, _ in summary.clients)]
    there = dict.fromkeys(strip.participant for strip in summary.gallery)
    views = [name for name in (*order, *(name for name in there if name.startswith(ALONE))) if name in there]
    by_view = {name: gallery_columns(summary, name) for name in views}
    uris: dict[Path, str | None] = {}

    def cell(column: Column, row: int, view: int | None, participant: str, label: str) -> dict[str, Any]:
        picture = column.pictures[row]
        if picture is not None and picture not in uris:
            uris[picture] = _data_uri(picture)
        who = f"{column.title}, {participant}" if participant else column.title
        return {"uri": uris[picture] if picture else None, "view": view, "who": who, "alt": f"{label}: {who}"}

    rows = []
    for row, prompt in enumerate(summary.prompts):
        label = prompt_label(prompt, summary.prompts)
        cells = []
        for index, column in enumerate(first):
            if column.is_round:
                cells.append([cell(by_view[name][index], row, view, name, label[0]) for view, name in enumerate(views)])
            else:
                cells.append([cell(column, row, None, "", label[0])])
        rows.append({"prompt": prompt, "label": label, "cells": cells})
    rounds = {strip.round for strip in summary.gallery if strip.round > 0}
    return {
        "titles": [column.title for column in first],
        "views": views,
        "rows": rows,
        "seed": min(strip.seed for strip in summary.gallery),
        "left_out": max(len(rounds) - len(shown_rounds(summary)), 0),
    }


def _participants(summary: RunSummary) -> list[dict[str, Any]]:
    """One line per client: what it brought, its weight, and its figures of the last round."""
    total = sum(count for _, count in summary.clients)
    lines = []
    for number, (name, count) in enumerate(summary.clients, start=1):
        own, alone = _last(summary, name), _last(summary, f"{ALONE}{number}")
        share = count / total if summary.weighting == "samples" else 1 / len(summary.clients)
        lines.append(
            {
                "name": name,
                "examples": count,
                "share": share,
                "steps": own[0].steps if own else None,
                "fid": _mean(own, "fid") if own else None,
                "alone": _mean(alone, "fid") if alone else None,
            }
        )
    for name in (AGGREGATED, CENTRAL):
        own = _last(summary, name)
        if own:
            lines.append(
                {
                    "name": name,
                    "examples": own[0].examples,
                    "share": None,
                    "steps": own[0].steps,
                    "fid": _mean(own, "fid"),
                    "alone": None,
                }
            )
    return lines


def _rounds(facts: Sequence[RoundFacts]) -> list[dict[str, Any]]:
    """Facts by round, the mean over seeds; None where the method has no such figure."""
    lines = []
    for number in sorted({fact.round for fact in facts}):
        group = [fact for fact in facts if fact.round == number]
        line: dict[str, Any] = {"round": number}
        for column in ROUND_FACTS:
            values = [value for fact in group if (value := getattr(fact, column)) is not None]
            line[column] = over_seeds(values).mean if values else None
        lines.append(line)
    return lines


def _data_uri(picture: Path) -> str | None:
    """The picture inside a `data:` address: a small PNG as it is, others made smaller as JPEG; None if unreadable."""
    try:
        content = picture.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG" and max(image.size) <= LARGEST_PICTURE:
                image.verify()
                kind = "png"
            else:
                image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, "JPEG", quality=88)
                content, kind = buffer.getvalue(), "jpeg"
    except (OSError, SyntaxError, UnidentifiedImageError):  # PIL's PNG reader raises SyntaxError for a broken one
        return None
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def fid_text(figure: Figure | None, digits: int = 2) -> str:
    """'61.23', with '± 1.20' where there are several seeds; one digit more below 10 than `digits` of 1."""
    if figure is None:
        return DASH
    digits = max(digits, 2) if abs(figure.mean) < 10 else digits
    spread = "" if figure.spread is None else f" ± {figure.spread:.{digits}f}"
    return f"{figure.mean:.{digits}f}{spread}"


def _kid(value: float) -> str:
    return f"{value:.4f}".replace("-", "\N{MINUS SIGN}")


def _megabytes(count: float) -> str:
    return f"{count / MEGABYTE:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share >= 0.0005 or share == 0 else f"{100 * share:.1g}%"


def _power(value: float) -> str:
    """2.1e-07 as people write it: mantissa, times 10, raised exponent."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} \N{MULTIPLICATION SIGN} 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _duration(seconds: float) -> str:
    """'34 s', '3 min 34 s', '2 h 5 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _moment(iso: str) -> str:
    """'22 November 2026, 13:54 UTC'; the text itself where it is no ISO 8601 time."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _script_hash(script: str) -> str:
    """The page's own script by its hash, for the content security policy: no other script runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
