"""Numbers, sizes and times in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask

from fedflow import web
from fedflow.web.amounts import duration, exact, megabytes, number, relative, setting

NOW = datetime(2026, 11, 23, 14, 5, 9, tzinfo=UTC)


@pytest.fixture
def language(request: pytest.FixtureRequest) -> Iterator[None]:
    app = Flask("amounts", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list, language_of_person=lambda: request.param))
    with app.test_request_context():
        yield


def in_languages(english: str, ukrainian: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("language", "said"), [("en", english), ("uk", ukrainian)], indirect=["language"])


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@in_languages("1,234.5", "1 234,5")
@pytest.mark.usefixtures("language")
def test_numbers(said: str) -> None:
    assert plain(number(1234.5)) == said


@in_languages("3|0.8125|-0.5", "3|0,8125|-0,5")
@pytest.mark.usefixtures("language")
def test_settings_keep_their_decimals(said: str) -> None:
    assert "|".join(map(setting, (3.0, 0.8125, -0.5))) == said


@in_languages(
    "0 MB|under 0.001 MB|0.004 MB|3.25 MB|84.0 MB|1,235 MB", "0 МБ|менше 0,001 МБ|0,004 МБ|3,25 МБ|84,0 МБ|1 235 МБ"
)
@pytest.mark.usefixtures("language")
def test_sizes(said: str) -> None:
    sizes = (0, 999, 4_000, 3_250_000, 84_000_000, 1_234_600_000)
    assert plain("|".join(megabytes(size) for size in sizes)) == said


@in_languages("0 sec|45 sec|3 min 20 sec|2 hr|1 day 4 hr", "0 с|45 с|3 хв 20 с|2 год|1 дн. 4 год")
@pytest.mark.usefixtures("language")
def test_durations(said: str) -> None:
    assert plain("|".join(duration(seconds) for seconds in (0, 45, 200, 7200, 100_800))) == said


@in_languages("just now|3 minutes ago|in 2 hours", "щойно|3 хвилини тому|через 2 години")
@pytest.mark.usefixtures("language")
def test_relative_times(said: str) -> None:
    ago = (timedelta(seconds=-4), timedelta(minutes=-3), timedelta(hours=2))
    assert plain("|".join(relative(NOW + one, NOW) for one in ago)) == said


@in_languages("Nov 23, 2026, 2:05:09 PM UTC", "23 лист. 2026 р., 14:05:09 UTC")
@pytest.mark.usefixtures("language")
def test_exact_times_are_utc_whatever_zone_they_came_in(said: str) -> None:
    assert plain(exact(NOW)) == said
    assert plain(exact(NOW.replace(tzinfo=None))) == said
    assert plain(exact(NOW.astimezone(timezone(timedelta(hours=2))))) == said
