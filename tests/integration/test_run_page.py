"""Pages of runs and try-outs in a real Chromium: what is brought while one reads moves nothing that one holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from browser import Watched, served
from full_server import PASSWORD, Sizes, fill
from page_server import heading, submit
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import select

from fedflow.evaluation.charts import chart_svg
from fedflow.evaluation.curves import Curves, Line
from fedflow.evaluation.drawing import without_styles
from fedflow.federation.rounds import Status
from fedflow.plan import AGGREGATED
from fedflow.server.api.app import create_app
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Job, Round, Run, Score
from fedflow.server.database.tryouts import Tryout
from fedflow.server.services import events, jobs, run_charts
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store

SIZES = Sizes(federations=1, members=8, people=8, runs=10, rounds=9, adapters=1, audit=1, imports=1, tryouts=1)
NARROW = 380


@dataclass
class Site:
    """A server with runs in every state, and its address."""

    store: Store
    address: str
    email: str

    def run(self, status: Status) -> str:
        """The identifier of a run in this state."""
        with self.store.read() as session:
            return session.scalars(select(Run.id).where(Run.status == status)).first() or ""

    def measures_one_more(self, run_id: str) -> int:
        """The next round's model is measured; its number."""
        with self.store.begin() as session:
            newest = session.scalars(
                select(Score).where(Score.run_id == run_id, Score.who == AGGREGATED).order_by(Score.round.desc())
            ).first()
            assert newest is not None
            columns = {column.key: getattr(newest, column.key) for column in Score.__table__.columns}
            session.add(Score(**{**columns, "round": newest.round + 1}))
            federation_id = session.get_one(Run, run_id).federation_id
            events.record(session, self.store, federation_id, run_id, "scored")
            return newest.round + 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = ServerSettings(folder=tmp_path_factory.mktemp("server"))
    store = open_store(settings)
    accounts = fill(store, SIZES)
    email = next(each.email for each in accounts if each.role == "administrator")
    with served(create_app(store, settings)) as address:
        yield Site(store, address, email)
    store.engine.dispose()


@pytest.fixture
def watched(site: Site, browser: Browser) -> Iterator[Watched]:
    """Signed in, on a narrow screen."""
    viewport = {"width": NARROW, "height": 800}
    context = browser.new_context(base_url=site.address, viewport=viewport, locale="en")
    watched = Watched(context)
    watched.page.goto("/sign-in")
    watched.page.get_by_label("E-mail address").fill(site.email)
    watched.page.get_by_label("Password").fill(PASSWORD)
    submit(watched.page, "Sign in")
    heading(watched.page, "Overview")
    yield watched
    context.close()


def scrolled(page: Page, part: str) -> int:
    return int(page.locator(part).evaluate("part => part.scrollLeft"))


def test_what_is_brought_folds_nothing_and_keeps_focus_and_scroll(site: Site, watched: Watched) -> None:
    page, run = watched.page, site.run(Status.RUNNING)
    page.goto(f"/runs/{run}")
    page.locator("#figures summary").click()
    for part in (".gallery-box", ".rounds"):
        page.locator(part).evaluate("part => { part.scrollLeft = 61; }")
    link = page.locator(".gallery a").nth(2)
    link.focus()
    page.locator(".gallery-box").evaluate("part => { part.scrollLeft = 61; }")
    number = site.measures_one_more(run)
    expect(page.locator(".gallery thead")).to_contain_text(f"Round {number}")
    expect(page.locator("#figures tbody tr").last).to_contain_text(str(number))
    assert page.locator("#figures").evaluate("details => details.open")
    assert link.evaluate("link => link === document.activeElement")
    assert (scrolled(page, ".gallery-box"), scrolled(page, ".rounds")) == (61, 61)
    page.get_by_role("button", name="Pause run").focus()
    number = site.measures_one_more(run)
    expect(page.locator(".gallery thead")).to_contain_text(f"Round {number}")
    expect(page.get_by_role("button", name="Pause run")).to_be_focused()
    watched.check_quiet()


def test_a_picture_comes_where_its_place_was(site: Site, watched: Watched) -> None:
    with site.store.begin() as session:
        tryout = session.scalars(select(Tryout).join(Person).where(Person.email == site.email)).first()
        assert tryout is not None
        identifier, drawn = tryout.id, list(tryout.pictures)[:2]
        tryout.status, tryout.count, tryout.pictures = "running", 2, drawn[:1]
    page = watched.page
    page.goto(f"/tryouts/{identifier}")
    below = page.locator(".tryout > .buttons")
    place, end = page.locator(".to-come").bounding_box(), below.bounding_box()
    with site.store.begin() as session:
        session.get_one(Tryout, identifier).pictures = drawn
    expect(page.locator(".shots img")).to_have_count(2)
    assert (page.locator(".shots img").last.bounding_box(), below.bounding_box()) == (place, end)
    watched.check_quiet()


def test_a_new_run_is_planned_on_a_narrow_screen(site: Site, watched: Watched) -> None:
    """The cost stands before the button; all or none are chosen, and nothing else changes meanwhile."""
    page = watched.page
    with site.store.read() as session:
        federation_id = session.scalars(select(Run.federation_id)).first()
    page.goto(f"/federations/{federation_id}/runs/new")
    cost, start = page.locator("#cost").bounding_box(), page.get_by_role("button", name="Start run").bounding_box()
    assert cost is not None
    assert start is not None
    assert cost["y"] + cost["height"] <= start["y"]
    page.locator("#f-name").fill("autumn")
    page.locator(".folded-group summary").first.click()
    chosen = page.locator("[name=member]:checked")
    expect(chosen).to_have_count(SIZES.members)
    held: list[Route] = []
    page.route("**/runs/new/check", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    with page.expect_request("**/runs/new/check"):
        page.get_by_role("button", name="Choose none").click()
    page.locator("#f-name").press("End")
    page.locator("#f-name").press("s")
    held[0].continue_()
    page.unroute("**/runs/new/check")
    expect(chosen).to_have_count(0)
    expect(page.locator("#cost")).to_contain_text("Shown once every field is valid.")
    page.get_by_role("button", name="Choose all").click()
    expect(chosen).to_have_count(SIZES.members)
    expect(page.locator("#cost")).to_contain_text("from each member")
    expect(page.locator("#f-name")).to_have_value("autumns")
    assert page.locator(".folded-group").first.evaluate("details => details.open")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    watched.check_quiet()


@pytest.mark.parametrize("language", ["en", "uk"])
def test_the_page_of_a_run_is_no_wider_than_a_narrow_screen(site: Site, watched: Watched, language: str) -> None:
    cookie = {"name": "fedflow_language", "value": language, "url": site.address}
    watched.page.context.add_cookies([cookie])  # type: ignore[list-item]
    for status in (Status.FAILED, Status.RUNNING, Status.DONE):
        watched.page.goto(f"/runs/{site.run(status)}")
        for summary in watched.page.locator("details > summary").all():
            summary.click()
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= NARROW, status


def test_a_run_that_is_over_is_asked_for_no_more(site: Site, watched: Watched) -> None:
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    watched.page.goto(f"/runs/{site.run(Status.DONE)}")
    watched.page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "/stream?" in url]
    expect(watched.page.locator("#live[hx-get]")).to_have_count(0)
    watched.check_quiet()


def test_who_acts_while_the_server_is_gone_is_told_and_keeps_the_page(site: Site, watched: Watched) -> None:
    page, run = watched.page, site.run(Status.PAUSED)
    page.goto(f"/runs/{run}")
    page.get_by_role("button", name="Stop run").click()
    page.context.set_offline(True)
    page.locator("#stop").get_by_role("button", name="Stop run").click()
    told = page.locator("#flashes .notice[data-from-script]")
    expect(told).to_have_text("FedFlow does not answer; nothing was changed. Try again.")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.get_by_role("button", name="Resume run").click()
    expect(told).to_have_count(1)
    page.context.set_offline(False)
    page.get_by_role("button", name="Resume run").click()
    expect(page.locator("#flashes .notice.done")).to_have_text("The run continues.")
    with site.store.begin() as session:
        session.get_one(Run, run).status = Status.PAUSED


def test_a_stream_that_ends_with_its_server_is_told_of_at_once(site: Site, watched: Watched) -> None:
    page = watched.page
    gone = re.compile(r"/stream\?|/kit\.js$")
    page.goto("/")
    page.route(gone, lambda route: route.abort() if route.request.resource_type != "script" else route.continue_())
    page.goto(f"/runs/{site.run(Status.RUNNING)}")
    told = page.locator("#flashes .notice[data-from-script]")
    expect(told).to_contain_text("FedFlow does not answer. This page goes on by itself", timeout=3000)
    page.unroute(gone)
    expect(told).to_have_count(0)


def test_the_labels_of_charts_stand_within_a_narrow_screen(site: Site, watched: Watched) -> None:
    run = site.run(Status.RUNNING)
    rounds, values = (1, 2), (-0.5, -0.936)
    joint = Line(AGGREGATED, rounds, values, values, values)
    curves = Curves("kid", (Line("a name of eighteen or more", rounds, (-0.1, -0.2), (0, 0), (0, 0)),), joint)
    with site.store.read() as session:
        before = session.get_one(Run, run).charts
    run_charts.keep(site.store, run, {"kid": site.store.blobs.put(without_styles(chart_svg(curves)).encode())})
    watched.page.goto(f"/runs/{run}")
    right = watched.page.locator("main .section").first.evaluate("part => part.getBoundingClientRect().right")
    labels = watched.page.locator(".drawing svg text")
    expect(labels.filter(has_text="aggregated \N{MINUS SIGN}0.936")).to_be_visible()
    ends = labels.evaluate_all("texts => texts.map((text) => text.getBoundingClientRect().right)")
    assert max(ends) <= right
    run_charts.keep(site.store, run, before)
    watched.check_quiet()


def test_what_is_still_to_be_measured_is_named_beside_what_is(site: Site, watched: Watched) -> None:
    run = site.run(Status.RUNNING)
    with site.store.begin() as session:
        job = jobs.add(session, "evaluate", run, 3, site.store.clock(), "studio-001")
    watched.page.goto(f"/runs/{run}?round=3")
    expect(watched.page.locator("#gallery")).to_contain_text("Still to be measured: studio-001.")
    watched.page.goto(f"/runs/{run}?round=2")
    expect(watched.page.locator("#gallery")).not_to_contain_text("Still to be measured")
    with site.store.begin() as session:
        session.delete(session.get_one(Job, job.id))


def test_a_question_that_is_open_is_answered_as_it_was_asked(site: Site, watched: Watched) -> None:
    """The round that a coordinator has looked at is closed, and none that began while the question stood open."""
    page, run = watched.page, site.run(Status.RUNNING)
    page.goto(f"/runs/{run}")
    number = int(page.locator("#page-question dialog").get_attribute("id").rpartition("-")[2])  # type: ignore[union-attr]
    page.evaluate("number => document.getElementById(`close-round-${number}`).showModal()", number)
    with site.store.begin() as session:
        present = session.get_one(Round, (run, number))
        columns = {column.key: getattr(present, column.key) for column in Round.__table__.columns}
        session.add(Round(**{**columns, "number": number + 1}))
        session.get_one(Run, run).round = number + 1
    measured = site.measures_one_more(run)
    expect(page.locator(".gallery thead")).to_contain_text(f"Round {measured}")
    expect(page.locator(f"#close-round-{number}")).to_be_visible()
    expect(page.locator(f"#close-round-{number} input[name=round]")).to_have_value(str(number))
    expect(page.locator(f"#close-round-{number + 1}")).to_be_attached()
    page.locator(f"#close-round-{number}").get_by_role("button", name="Cancel").click()
    measured = site.measures_one_more(run)
    expect(page.locator(".gallery thead")).to_contain_text(f"Round {measured}")
    expect(page.locator("#page-question dialog")).to_have_count(1)
    expect(page.locator("#page-question input[name=round]")).to_have_value(str(number + 1))
    with site.store.begin() as session:
        session.get_one(Run, run).round = number
        session.delete(session.get_one(Round, (run, number + 1)))
    watched.check_quiet()
