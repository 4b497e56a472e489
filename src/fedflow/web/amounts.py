"""Numbers, sizes and times as a person reads them, in the reader's language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal
from babel.units import format_unit
from flask_babel import format_percent, gettext
from markupsafe import Markup, escape

from fedflow.web import present

SAME_IN_ALL = 1000
"""Whole numbers below it have no separator in any language here."""
KEPT = 10_000
"""Moments and figures whose words are kept: pages tell the same ones again and again, and a page of many waits for its
words."""

MINUTE_S, HOUR_S, DAY_S, WEEK_S, MONTH_S, YEAR_S = 60, 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400
JUST_NOW_S = 10


def number(value: float) -> str:
    """1234.5 as '1,234.5' or '1 234,5'."""
    if type(value) is int and 0 <= value < SAME_IN_ALL:
        return str(value)
    return decimal(value)


def decimal(value: float, pattern: str | None = None) -> str:
    """The same by a pattern of Unicode's, such as '#,##0.00'."""
    return _decimal(value, pattern, present.language())


def setting(value: float) -> str:
    """A number that somebody chose, with all its decimals: 0.8125 as '0.8125' or '0,8125'."""
    return decimal(value, "#,##0.##########")


def percent(share: float) -> str:
    """0.97 as '97%' or '97 %'."""
    return str(format_percent(share))


def megabytes(size_bytes: int) -> str:
    """A size in MB of 10^6 bytes: three figures for what is small, whole ones from 100 on."""
    size = size_bytes / 1e6
    if 0 < size < 0.001:
        return str(gettext("under %(size)s MB", size=decimal(0.001)))
    pattern = "#,##0" if size >= 100 else "#,##0.0" if size >= 10 else "0.00" if size >= 1 else "0.000" if size else "0"
    return str(gettext("%(size)s MB", size=decimal(size, pattern)))


def duration(seconds: float) -> str:
    """The two largest units: '45 sec', '3 min 20 sec', '2 hr 5 min', '1 day 4 hr'."""
    return _duration(max(0, round(seconds)), present.language())


@lru_cache(KEPT)
def _duration(whole: int, language: str) -> str:
    sizes = ((DAY_S, "duration-day"), (HOUR_S, "duration-hour"), (MINUTE_S, "duration-minute"), (1, "duration-second"))
    parts: list[tuple[str, int]] = []
    for size, unit in sizes:
        count, whole = divmod(whole, size)
        parts.append((unit, count))
    first = next((place for place, (_, count) in enumerate(parts) if count), len(parts) - 1)
    told = [(unit, count) for place, (unit, count) in enumerate(parts[first : first + 2]) if count or place == 0]
    return " ".join(format_unit(count, unit, "short", locale=language) for unit, count in told)


def relative(moment: datetime, now: datetime | None = None) -> str:
    """'3 minutes ago', 'in 2 hours'; a moment without a zone is UTC."""
    seconds = (as_utc(moment) - (now or datetime.now(UTC))).total_seconds()
    if abs(seconds) < JUST_NOW_S:
        return str(gettext("just now"))
    units = (YEAR_S, MONTH_S, WEEK_S, DAY_S, HOUR_S, MINUTE_S, 1)
    unit = next((each for each in units if abs(seconds) >= each), 1)
    return _relative(round(seconds / unit) * unit, present.language())


def exact(moment: datetime) -> str:
    """The moment itself, with its zone: '23 Nov 2026, 14:05:09 UTC'."""
    return _exact(as_utc(moment), present.language())


def time_tag(moment: datetime) -> Markup:
    """A moment, relative, with the exact one on hover and for scripts."""
    at, title, told = as_utc(moment).isoformat(), escape(exact(moment)), escape(relative(moment))
    return Markup(f'<time class="figure" datetime="{at}" title="{title}" data-relative>{told}</time>')  # noqa: S704


@lru_cache(KEPT)
def _decimal(value: float, pattern: str | None, language: str) -> str:
    return str(format_decimal(value, format=pattern, locale=language))


@lru_cache(KEPT)
def _relative(seconds: int, language: str) -> str:
    return str(format_timedelta(timedelta(seconds=seconds), add_direction=True, threshold=1.0, locale=language))


@lru_cache(KEPT)
def _exact(moment: datetime, language: str) -> str:
    return f"{format_datetime(moment, 'medium', locale=language)} UTC"


def as_utc(moment: datetime) -> datetime:
    """The same moment with the zone UTC; one without a zone is taken for UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
