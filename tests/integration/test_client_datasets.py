"""Datasets in the participant's app as a person works with them: its two processes and a real browser."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm
from accessibility import faults
from browser import Watched
from playwright.sync_api import Browser, Locator, Page, expect
from tests.integration.test_client_app import SLOW_MS, app

from fedflow.shipped import demo_folder

HOSTILE = '<img src=x onerror="window.hurt=1">, \N{RIGHT-TO-LEFT OVERRIDE}evil, \u05e2\u05d1\u05e8\u05d9\u05ea'
NARROW: dict[str, Any] = {"viewport": {"width": 380, "height": 800}, "color_scheme": "dark"}
REFUSED = "the server responded with a status of 422"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[tuple[str, Path]]:
    """The app's address, and a folder of twenty pictures, one with a hostile caption, which is a dataset there."""
    place = tmp_path_factory.mktemp("datasets")
    folder = place / "icons"
    folder.mkdir()
    for picture in sorted((demo_folder() / "client-1").glob("*.png")):
        for path in (picture, picture.with_suffix(".txt")):
            shutil.copy(path, folder / path.name)
    sorted(folder.glob("*.txt"))[3].write_text(HOSTILE, encoding="utf-8")
    with app(place / "app", warm.start) as (address, _):
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"{address}/datasets")
            page.get_by_label("Folder", exact=True).fill(str(folder))
            page.get_by_role("button", name="Add folder").click()
            expect(page.locator("#grid .cell")).not_to_have_count(0, timeout=SLOW_MS)
        yield address, folder


@pytest.fixture
def watched(here: tuple[str, Path], browser: Browser) -> Iterator[Watched]:
    """A browser at the dataset's grid, which has complained of nothing when it leaves."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        found = Watched(context)
        found.page.goto(f"{here[0]}/datasets")
        found.page.get_by_role("link", name="icons", exact=True).click()
        grid_of(found.page)
        yield found
        found.complaints = [each for each in found.complaints if REFUSED not in each]
        found.check_quiet()


def grid_of(page: Page) -> Locator:
    expect(page.locator("html[data-grid=ready]")).to_have_count(1)
    return page.locator("#grid .cell")


def caption(folder: Path, place: int) -> str:
    return sorted(folder.glob("*.txt"))[place].read_text(encoding="utf-8").strip()


def test_pictures_are_selected_by_mouse_and_keys(watched: Watched) -> None:
    page, cells = watched.page, grid_of(watched.page)
    # By click, with Shift, with Ctrl, by keys, by a rectangle.
    cells.nth(0).locator("img").click()
    cells.nth(4).locator("img").click(modifiers=["Shift"])
    expect(page.locator("#chosen")).to_have_text("Selected: 5 of 20")
    cells.nth(2).locator("img").click(modifiers=["ControlOrMeta"])
    expect(page.locator("#chosen")).to_have_text("Selected: 4 of 20")
    page.keyboard.press("Escape")
    expect(page.locator("#bulk")).to_be_hidden()
    cells.nth(0).focus()
    page.keyboard.press(" ")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#chosen")).to_have_text("Selected: 3 of 20")
    page.keyboard.press("ControlOrMeta+a")
    expect(page.locator("#chosen")).to_have_text("Selected: 20 of 20")
    box = cells.nth(1).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 60, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.locator("#chosen")).to_have_text("Selected: 2 of 20")


def test_captions_are_removed_and_brought_back(watched: Watched, here: tuple[str, Path]) -> None:
    page, cells, folder = watched.page, grid_of(watched.page), here[1]
    files = sorted(folder.glob("*.txt"))[:2]
    before = [file.read_text(encoding="utf-8") for file in files]
    cells.nth(0).locator("img").click()
    cells.nth(1).locator("img").click(modifiers=["Shift"])
    page.get_by_label("What to do with the captions").select_option("Remove captions")
    expect(page.locator("#bulk-first")).to_be_hidden()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#told")).to_have_text("2 pictures have no caption now, and are not trained on.")
    expect(page.locator("#grid .cell", has_text="no caption")).to_have_count(2)
    assert [file.exists() for file in files] == [False, False]
    page.locator("#undo button").click()
    expect(page.locator("#grid .cell", has_text="no caption")).to_have_count(0)
    cells.nth(0).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(cells.nth(0)).to_have_text("no caption")
    page.locator("#undo button").click()
    expect(page.locator("#grid .cell", has_text="no caption")).to_have_count(0)
    assert [file.read_text(encoding="utf-8") for file in files] == before


def test_a_change_of_many_captions_is_undone(watched: Watched, here: tuple[str, Path]) -> None:
    page, cells, folder = watched.page, grid_of(watched.page), here[1]
    before = [caption(folder, place) for place in range(4)]
    expect(cells.nth(3)).to_contain_text("<img src=x")
    assert page.evaluate("window.hurt") is None
    # A change of many, and its undo.
    cells.nth(0).locator("img").click()
    cells.nth(3).locator("img").click(modifiers=["Shift"])
    page.locator("#bulk-first").fill("\u202ezebra")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#undo")).to_contain_text("add tag '\ufffdzebra' to 4 pictures")
    assert [caption(folder, place) for place in range(4)] == [f"{each}, \u202ezebra" for each in before[:4]]
    expect(page.locator("#tags")).to_contain_text("\ufffdzebra 4")
    expect(cells.nth(0)).to_contain_text("\ufffdzebra")  # nothing in sight is mirrored
    cells.nth(0).focus()
    page.keyboard.press("ControlOrMeta+z")
    expect(page.locator("#redo")).to_contain_text("add tag '\ufffdzebra' to 4 pictures")
    assert [caption(folder, place) for place in range(4)] == before[:4]


def test_a_caption_is_changed_where_it_stands(watched: Watched, here: tuple[str, Path]) -> None:
    page, cells, folder = watched.page, grid_of(watched.page), here[1]
    before = [caption(folder, place) for place in range(4)]
    # One caption where it stands: given up, then written.
    cells.nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.type(", horse")
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    assert caption(folder, 1) == before[1]
    page.keyboard.press("Enter")
    page.keyboard.type(", horse")
    page.keyboard.press("Enter")
    expect(cells.nth(1)).to_contain_text("horse")
    expect(page.locator("#undo")).to_contain_text("change the caption of")
    assert caption(folder, 1) == f"{before[1]}, horse"

    # One that another program has changed is not overwritten, and what was typed stays.
    sorted(folder.glob("*.txt"))[2].write_text("mine", encoding="utf-8")
    cells.nth(2).focus()
    page.keyboard.press("Enter")
    page.keyboard.type(", horse")
    page.keyboard.press("Enter")
    expect(page.locator(".editor .error")).to_contain_text("changed by another program")
    expect(page.locator(".editor textarea")).to_have_value(f"{before[2]}, horse")
    assert caption(folder, 2) == "mine"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Mouse, touch and keys")).to_be_visible()
    page.keyboard.press("Escape")


COVERED = """(editor) => {
  const box = editor.getBoundingClientRect();
  const points = [[box.left + 4, box.top + 4], [box.right - 4, box.bottom - 4], [box.left + 20, box.bottom - 4]];
  return points.filter(([x, y]) => !editor.contains(document.elementFromPoint(x, y))).length;
}"""
"""At how many of three of its points something else lies over the editor, or the window has ended."""


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1280, 560), (380, 800)])
def test_nothing_lies_over_a_caption_that_is_being_changed(
    watched: Watched, here: tuple[str, Path], width: int, height: int
) -> None:
    page, cells = watched.page, grid_of(watched.page)
    page.set_viewport_size({"width": width, "height": height})
    cells.first.focus()
    for place, keys in ((0, ["Home"]), (9, ["ArrowRight"] * 9), (19, ["End"])):
        for key in keys:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        editor = page.locator(".editor")
        assert editor.evaluate(COVERED) == 0, f"picture {place}"
        page.keyboard.type(", word" * 60)
        assert editor.evaluate(COVERED) == 0, f"picture {place}, a long caption"
        page.keyboard.press("Escape")
        expect(editor).to_have_count(0)
        page.locator(f'.cell[data-place="{place}"] > p').click()
        assert editor.evaluate(COVERED) == 0, f"picture {place}, by mouse"
        file = sorted(here[1].glob("*.txt"))[place]
        before = file.read_text(encoding="utf-8")
        file.write_text("mine", encoding="utf-8")
        page.keyboard.type(", word")
        page.keyboard.press("Enter")
        expect(editor.locator(".error")).to_contain_text("changed by another program")
        assert editor.evaluate(COVERED) == 0, f"picture {place}, refused"
        page.keyboard.press("Escape")
        file.write_text(before, encoding="utf-8")


def test_a_zip_becomes_a_dataset_that_is_tagged_and_checked(
    here: tuple[str, Path], browser: Browser, tmp_path: Path
) -> None:
    address, _ = here
    archive = tmp_path / "Brought.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for picture in sorted((demo_folder() / "client-2").glob("*.png"))[:6]:
            zipped.write(picture, picture.name)
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        watched = Watched(context)
        page = watched.page
        page.goto(f"{address}/datasets")
        page.set_input_files("#f-files", str(archive))
        page.get_by_role("button", name="Bring them").click()
        page.wait_for_url(re.compile("/datasets/0"))
        expect(page.get_by_role("heading", name="Brought")).to_be_visible()
        expect(page.locator("#grid .cell")).to_have_count(6, timeout=SLOW_MS)
        expect(page.get_by_text("6 files cannot be used as they are.")).to_be_visible()

        page.get_by_role("link", name="Automatic tags").click()
        page.get_by_role("button", name="Tag pictures").click()
        expect(page.get_by_text("Done: tag")).to_be_visible(timeout=SLOW_MS)
        with browser.new_context(locale="uk", **NARROW) as narrow:
            small = narrow.new_page()
            small.set_viewport_size({"width": 320, "height": 800})
            small.goto(page.url)
            assert sticks_out(small.locator(".notice .button, #f-write")) == []
        page.get_by_role("link", name="See the pictures").click()
        expect(grid_of(page).filter(has_text="no caption")).to_have_count(0)
        page.locator("#undo button").click()
        expect(page.locator("#told")).to_have_text("Undone.")
        expect(page.locator("#grid .cell", has_text="no caption")).to_have_count(6)

        page.get_by_role("link", name="Check").click()
        page.get_by_role("button", name="Check now").click()
        expect(page.get_by_role("button", name="Check again")).to_be_visible(timeout=SLOW_MS)
        watched.check_quiet()


def sticks_out(all_of_them: Locator) -> list[str]:
    """Those that end right of what is around them, each as wide as its words want it."""
    return all_of_them.evaluate_all(
        """(all) => all.filter((each) => {
          const around = each.closest(".notice, .field").getBoundingClientRect().right;
          if (each.localName === "select") each.style.width = "max-content";
          return each.getBoundingClientRect().right > around;
        }).map((each) => each.textContent)"""
    )


@pytest.mark.parametrize("screen", [{"viewport": {"width": 1280, "height": 800}}, NARROW], ids=["wide", "narrow"])
def test_no_page_has_a_fault(here: tuple[str, Path], browser: Browser, screen: dict[str, Any]) -> None:
    address, _ = here
    told = {}
    with browser.new_context(base_url=address, **screen) as context:
        page = context.new_page()
        page.goto("/datasets")
        told["list"] = faults(page)
        page.get_by_role("link", name="icons", exact=True).click()
        place = page.url
        grid_of(page).first.locator("img").click()
        told["grid"] = faults(page)
        page.keyboard.press("Enter")
        told["caption"] = faults(page)
        page.keyboard.press("Escape")
        for part in ("?problems", "/check", "/check?part=personal", "/check?part=figures", "/tags"):
            page.goto(f"{place}{part}")
            told[part] = faults(page)
            width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert width <= 0, f"{part} is wider than the screen"
    assert told == {page: [] for page in told}


@pytest.mark.parametrize("language", ["en", "uk"])
def test_no_place_in_the_narrow_bar_is_cut(here: tuple[str, Path], browser: Browser, language: str) -> None:
    with browser.new_context(base_url=here[0], locale=language, **NARROW) as context:
        page = context.new_page()
        page.goto("/datasets")
        labels = page.locator(".rail .place > span:first-child")
        cut = labels.evaluate_all(
            "(all) => all.filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent)"
        )
        assert cut == []
        assert page.evaluate("document.querySelector('.rail').scrollWidth - innerWidth") <= 0


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""A headless browser shows every tab; so it is told of one that is behind another."""


def test_tabs_that_nobody_sees_hold_no_connection_and_catch_up_when_seen(
    here: tuple[str, Path], browser: Browser
) -> None:
    with browser.new_context() as context:
        first = context.new_page()
        first.goto(f"{here[0]}/activity")
        jobs = first.locator("#live .job")
        expect(jobs).not_to_have_count(0)
        before = jobs.count()
        first.evaluate(HIDE, True)
        for _ in range(7):
            page = context.new_page()
            page.goto(f"{here[0]}/activity", timeout=SLOW_MS)
            page.evaluate(HIDE, True)
        page = context.new_page()
        page.goto(f"{here[0]}/datasets", timeout=SLOW_MS)  # of nine tabs, which had eight streams
        page.get_by_role("link", name="icons", exact=True).click()
        page.get_by_role("button", name="Look again").click()
        expect(page.locator("html[data-grid=ready]")).to_have_count(1)
        assert jobs.count() == before
        first.evaluate(HIDE, False)
        expect(jobs).not_to_have_count(before, timeout=5_000)  # before it asks by itself


def test_a_caption_that_is_refused_stays_open_where_it_is_scrolled_away(
    watched: Watched, here: tuple[str, Path]
) -> None:
    page, cells = watched.page, grid_of(watched.page)
    page.set_viewport_size({"width": 380, "height": 400})
    place = sorted(here[1].glob("*.txt"))[1]
    before = place.read_text(encoding="utf-8")
    cells.nth(1).locator("img").click()
    page.keyboard.press("Enter")
    field = page.locator(".editor textarea")
    expect(field).to_have_value(before.strip())
    place.write_text("changed by another program", encoding="utf-8")
    field.fill("a cat, refused")
    field.press("Enter")
    refusal = page.locator(".editor .error")
    expect(refusal).to_contain_text("changed")
    page.mouse.click(5, 5)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".editor")).to_have_count(0)
    page.evaluate("document.getElementById('grid').scrollIntoView()")
    expect(field).to_have_value("a cat, refused")
    expect(refusal).to_contain_text("changed")
    page.set_viewport_size({"width": 900, "height": 400})
    expect(field).to_have_value("a cat, refused")
    field.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    place.write_text(before, encoding="utf-8")
