"""A try-out in the reader's words: its state, why it waits, its settings."""

from __future__ import annotations

from flask_babel import LazyString, gettext, lazy_gettext, ngettext

from fedflow.server.database.tryouts import Tryout
from fedflow.server.services.tryouts import CANCELLED, DONE, FAILED, RUNNING, WAITING, Allowance, Line
from fedflow.web import amounts
from fedflow.web.states import State

STATUS: dict[str, tuple[State, LazyString]] = {
    WAITING: (State.WAITING, lazy_gettext("Waiting")),
    RUNNING: (State.RUNNING, lazy_gettext("Being drawn")),
    DONE: (State.DONE, lazy_gettext("Drawn")),
    CANCELLED: (State.REFUSED, lazy_gettext("Cancelled")),
    FAILED: (State.FAILED, lazy_gettext("Failed")),
}


def why(line: Line, rounds_first: bool, nobody: bool) -> str:
    """Why a try-out waits; `nobody` says that no evaluator is there to draw it."""
    if nobody:
        return str(
            gettext("No evaluator is running to draw it. Whoever runs the server can start one with “fedflow server”.")
        )
    if rounds_first:
        first = gettext("A federation's round is being measured; try-outs are drawn after it.")
        return f"{first} {_place(line.ahead)}"
    return _place(line.ahead)


def _place(ahead: int) -> str:
    if not ahead:
        return str(gettext("It is next."))
    return str(ngettext("%(num)s try-out is drawn before it.", "%(num)s try-outs are drawn before it.", ahead))


def limit(allowance: Allowance, most_a_day: int) -> str:
    """Why nothing more can be asked for now; empty where something can."""
    if not most_a_day:
        return str(gettext("This server draws no try-outs: its settings allow no pictures."))
    if not allowance.pictures:
        return str(
            gettext(
                "You have used all %(most)s pictures that one person may have in 24 hours. More in %(time)s.",
                most=most_a_day,
                time=amounts.duration(allowance.more_in_s or 0.0),
            )
        )
    if not allowance.at_once:
        return str(
            gettext(
                "You already have the most try-outs that one person may have waiting or being drawn. Wait until one is "
                "done, or cancel one."
            )
        )
    return ""


def settings(row: Tryout) -> str:
    """The settings in one line."""
    told = [
        gettext("seed %(seed)s", seed=row.seed),
        ngettext("%(num)s step", "%(num)s steps", row.steps),
        gettext("guidance %(scale)s", scale=amounts.number(row.guidance)),
        gettext("strength %(weight)s", weight=amounts.number(row.strength)),
    ]
    if row.size_pixels is not None:
        told.append(gettext("%(size)s px", size=row.size_pixels))
    return " · ".join(map(str, told))


def left_s(row: Tryout, now: float) -> float | None:
    """Seconds until the last picture, by the pace so far; None where nothing is known yet."""
    if row.started_at is None or row.attempt > 1 or not row.steps_done:
        return None
    return (now - row.started_at) / row.steps_done * (row.count * row.steps - row.steps_done)


def share(row: Tryout) -> int:
    """How much of the present picture is there, in percent."""
    return min(99, 100 * (row.steps_done - row.steps * len(row.pictures)) // row.steps)


def as_text(row: Tryout) -> str:
    """Prompt and settings as other tools read them, to be copied."""
    lines = [row.prompt, *([f"Negative prompt: {row.negative}"] if row.negative else [])]
    size = f", Size: {row.size_pixels}x{row.size_pixels}" if row.size_pixels else ""
    return "\n".join([*lines, f"Steps: {row.steps}, CFG scale: {row.guidance:g}, Seed: {row.seed}{size}"])
