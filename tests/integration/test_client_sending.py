"""Large files that a real browser sends to the participant's app: cut in the middle, they go on where they stopped."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import warm
from network import free_port
from playwright.sync_api import Browser, Page, Request, Route, expect
from tests.integration.test_client_app import SLOW_MS, app
from tests.unit.client_app.datasets_support import demo_pictures

from fedflow.client.services.arrivals import BEGINNING_BYTES, PIECE_BYTES
from fedflow.client.services.datasets_uploads import MOST_BYTES

PIECES = "**/arriving/*"
ROUNDS = 60


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of three pieces: two pictures with captions, and much that is neither."""
    folder = tmp_path_factory.mktemp("large")
    file = folder / "Icons.zip"
    with zipfile.ZipFile(file, "w") as zipped:
        for picture in demo_pictures(folder / "icons", 2):
            for path in (picture, picture.with_suffix(".txt")):
                zipped.write(path, path.name)
        zipped.writestr("notes.bin", os.urandom(2 * PIECE_BYTES + 3_000_000))
    return file


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pictures of three pieces with captions, and a file that is neither and too large to be sent."""
    pictures = demo_pictures(tmp_path_factory.mktemp("loose") / "icons", 2)
    with pictures[0].open("ab") as file:
        file.write(os.urandom(2 * PIECE_BYTES + 3_000_000))
    other = pictures[0].with_name("film.mp4")
    with other.open("wb") as file:
        file.truncate(MOST_BYTES)
    return [*pictures, *(each.with_suffix(".txt") for each in pictures), other]


def cut_after(page: Page, pieces: int) -> Callable[[], None]:
    """Let so many pieces through, and cut every connection after them; gives what ends that."""
    seen: list[Request] = []

    def one(route: Route, request: Request) -> None:
        if request.method == "PATCH":
            seen.append(request)
        if len(seen) > pieces:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(PIECES, one)
    return lambda: page.unroute(PIECES)


def offsets(page: Page) -> list[int]:
    """Where the pieces begin that the page sends from now on."""
    found: list[int] = []
    page.on(
        "request",
        lambda request: found.append(int(request.headers["upload-offset"])) if request.method == "PATCH" else None,
    )
    return found


def bring(page: Page, files: list[Path]) -> None:
    """Choose them, and have them sent."""
    page.set_input_files("#f-files", [str(each) for each in files])
    page.get_by_role("button", name="Bring them").click()


def expect_both_pictures(page: Page) -> None:
    """What was sent is a dataset of two."""
    page.wait_for_url(re.compile("/datasets/.+"))
    expect(page.get_by_text(re.compile("^2 pictures"))).to_be_visible(timeout=SLOW_MS)


def kill_half_way(page: Page, folder: Path, port: list[str], files: list[Path]) -> None:
    """Bring files to an app, and kill it when the first piece has come."""
    with app(folder, warm.start, port) as (address, process):
        page.goto(f"{address}/datasets")
        cut_after(page, 1)
        bring(page, files)
        expect(page.get_by_text("trying again")).to_be_visible()
        process.kill()
        process.wait(30)
        page.goto("about:blank")  # else it goes on by itself
        page.unroute(PIECES)


def goes_on_by_itself(page: Page, address: str, files: list[Path]) -> None:
    """Bring files over a line that is cut after the first piece, and mended."""
    page.goto(f"{address}/datasets")
    sent = offsets(page)
    ends = cut_after(page, 1)
    bring(page, files)
    expect(page.get_by_text("The app does not answer; trying again. 8.5 of 19.8 MB have arrived.")).to_be_visible()
    ends()
    expect_both_pictures(page)
    pieces = [BEGINNING_BYTES, BEGINNING_BYTES + PIECE_BYTES, BEGINNING_BYTES + 2 * PIECE_BYTES]
    assert [sent[0], sent[1], sent[-1]] == pieces


def test_a_zip_goes_on_after_a_cut_by_itself(tmp_path: Path, browser: Browser, archive: Path) -> None:
    with app(tmp_path / "app", warm.start) as (address, _), browser.new_context() as context:
        goes_on_by_itself(context.new_page(), address, [archive])


def test_loose_pictures_go_on_after_a_cut_by_themselves(tmp_path: Path, browser: Browser, loose: list[Path]) -> None:
    with app(tmp_path / "app", warm.start) as (address, _), browser.new_context() as context:
        page = context.new_page()
        goes_on_by_itself(page, address, loose)
        expect(page.get_by_text("1 file was left out: it is neither picture nor caption.")).to_be_visible()


def test_a_zip_goes_on_after_the_app_was_killed_and_the_page_loaded_anew(
    tmp_path: Path, browser: Browser, archive: Path
) -> None:
    folder, port = tmp_path / "app", ["--port", str(free_port())]
    with browser.new_context() as context:
        page = context.new_page()
        kill_half_way(page, folder, port, [archive])
        with app(folder, warm.start, port) as (address, _):
            page.goto(f"{address}/datasets")
            expect(page.get_by_text("“Icons.zip” has not been taken in yet: 8.45 MB of 19.8 MB")).to_be_visible()
            sent = offsets(page)
            bring(page, [archive])
            expect_both_pictures(page)
            assert sent == [BEGINNING_BYTES + PIECE_BYTES, BEGINNING_BYTES + 2 * PIECE_BYTES]
            page.goto(f"{address}/datasets")
            expect(page.get_by_text("has not been taken in yet")).to_have_count(0)


def test_loose_pictures_chosen_in_another_order_go_on_after_a_kill_and_a_page_loaded_anew(
    tmp_path: Path, browser: Browser, loose: list[Path]
) -> None:
    folder, port = tmp_path / "app", ["--port", str(free_port())]
    with browser.new_context() as context:
        page = context.new_page()
        kill_half_way(page, folder, port, loose)
        with app(folder, warm.start, port) as (address, _):
            page.goto(f"{address}/datasets")
            expect(page.get_by_text("4 pictures and captions")).to_contain_text("8.45 MB of 19.8 MB have arrived")
            expect(page.get_by_text("For a new dataset.")).to_be_visible()
            sent = offsets(page)
            bring(page, loose[::-1])
            expect_both_pictures(page)
            assert sent == [BEGINNING_BYTES + PIECE_BYTES, BEGINNING_BYTES + 2 * PIECE_BYTES]
            page.goto(f"{address}/datasets")
            expect(page.get_by_text("4 pictures and captions")).to_have_count(0)


def test_a_file_of_the_wrong_kind_is_refused_by_its_beginning(
    tmp_path: Path, browser: Browser, loose: list[Path]
) -> None:
    wrong = tmp_path / "Icons.zip"
    wrong.write_bytes(b"no zip" * BEGINNING_BYTES)
    with app(tmp_path / "app", warm.start) as (address, _), browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/datasets")
        sent = offsets(page)
        for files, why in (
            ([wrong], "“Icons.zip” is no zip, or is damaged. Pack it anew, or choose another file."),
            ([loose[-1]], "No picture and no caption is in it; give PNG or JPEG files, each with a .txt caption."),
        ):
            bring(page, files)
            expect(page.get_by_role("alert").filter(has_text=why)).to_be_visible()
        assert sent == []


def test_a_long_cut_is_told_with_the_way_on(tmp_path: Path, browser: Browser, archive: Path) -> None:
    with app(tmp_path / "app", warm.start) as (address, _), browser.new_context() as context:
        page = context.new_page()
        page.clock.install()
        page.goto(f"{address}/models/import")
        page.get_by_label("What it is").select_option("model")
        ends = cut_after(page, 1)
        page.set_input_files("#f-files", str(archive))
        page.get_by_role("button", name="Import").click()
        told = page.get_by_role("alert").filter(has_text="The connection to the app was cut. 8.5 of 19.8 MB")
        expect(page.get_by_text("trying again")).to_be_visible()
        for _ in range(ROUNDS):
            page.clock.fast_forward(15_000)
            if told.count():
                break
        expect(told).to_be_visible()
        ends()
        page.get_by_role("button", name="Go on").click()
        page.wait_for_url(re.compile("/models$"))
        expect(page.get_by_text("Icons").first).to_be_visible()
