"""Generate as a person has it: adapters, a preview, the brush, a dropped PNG and a grid, in a real browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import accessibility
import numpy as np
import pytest
import warm
from adapters import add_adapter
from browser import Watched
from network import wait_for
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.integration.test_client_app import CUT, SHOTS, SLOW_MS, app

from fedflow.client.services import library
from fedflow.client.services.jobs import new_id
from fedflow.client.store import open_store
from fedflow.generation import parameters_text, png_bytes
from fedflow.models import open_model

REFUSED = "status of 422"
"""What Chromium says of the answer to a form that is refused."""

WORDS = ("red_apple", "blue_house")

DROP = """
([target, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture.png", { type: "image/png" }));
  document.querySelector(target).dispatchEvent(
    new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app whose library holds two adapters and a copy of the starter, and an adapter of another model."""
    place = tmp_path_factory.mktemp("generate") / "app"
    store, starter = open_store(place), open_model("starter")
    for name in ("Watercolour", "Bold outline"):
        add_adapter(store, starter, name, spread=0.05)
    twin = new_id()
    shutil.copytree(resources.files("fedflow") / "data" / "starter", library.folder(store, twin))  # type: ignore[arg-type]
    library.keep(store, twin, library.New(library.MODEL, "Twin", base_hash=starter.content_hash))
    starter.name = "other"
    add_adapter(store, starter, "From elsewhere", base_hash="f" * 64, spread=0.05)
    store.engine.dispose()
    return place


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with app(folder, warm.start) as (found, _):
        yield found


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        made = Watched(context)
        yield made
        made.complaints = [each for each in made.complaints if each != CUT and REFUSED not in each]
        made.check_quiet()


def add(page: Page, name: str) -> None:
    page.get_by_label("Add an adapter").select_option(label=name)
    page.get_by_role("button", name="Add", exact=True).click()


def wish(page: Page, address: str, steps: int = 6) -> None:
    """Fill the form; how good a picture of so few steps is, is looked at elsewhere."""
    page.goto(f"{address}/?empty=")
    page.get_by_label("Prompt", exact=True).fill("fluent_style, red_apple, fruit")
    page.get_by_label("Pictures").fill("1")
    page.locator("summary", has_text=re.compile("^More$")).click()
    page.get_by_label("Steps", exact=True).fill(str(steps))


def drawn(page: Page) -> None:
    """Have it drawn, and wait until it is."""
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile(r"job="))
    expect(page.locator(".under-way")).to_have_count(0, timeout=SLOW_MS)
    expect(page.locator(".notice.failed")).to_have_count(0)


def pixels_of(page: Page, address: str) -> np.ndarray:
    with Image.open(io.BytesIO(page.request.get(address).body())) as image:
        return np.asarray(image.convert("RGB"))


def test_adapters_have_sliders_and_outlive_a_reload_and_use_again(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address)
    add(page, "Watercolour")
    expect(page.get_by_label("Weight of Watercolour, slider")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    number = page.get_by_label("Weight of Watercolour", exact=True)
    expect(number).to_have_value("0.8")
    number.fill("-0.35")
    expect(page.get_by_label("Weight of Watercolour, slider")).to_have_value("-0.35")
    add(page, "From elsewhere")
    marked = page.get_by_text("It was trained on another model and may not fit the chosen one.")
    expect(marked.filter(visible=True)).to_have_count(1)
    page.get_by_label("Model", exact=True).select_option("other")
    expect(page.get_by_label("Path or hub name")).to_be_visible()
    expect(marked.filter(visible=True)).to_have_count(0)
    page.get_by_label("Model", exact=True).select_option("starter")
    page.get_by_role("switch", name="From elsewhere").uncheck()
    add(page, "Bold outline")
    page.get_by_role("button", name="Take out Bold outline").click()

    def is_kept() -> None:
        expect(page.locator("#adapter-rows .adapter")).to_have_count(2)
        expect(number).to_have_value("-0.35")
        expect(page.get_by_role("switch", name="Watercolour")).to_be_checked()
        expect(page.get_by_role("switch", name="From elsewhere")).not_to_be_checked()

    page.reload()
    is_kept()
    drawn(page)
    is_kept()
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("<lora:Watercolour:-0.35>")).to_be_visible()
    page.get_by_role("link", name="Use again").click()
    is_kept()
    page.goto(f"{address}/gallery")
    page.get_by_label("Adapter", exact=True).select_option("Watercolour")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(SHOTS)).to_have_count(1)


def test_a_kept_form_says_that_its_model_is_gone_and_begins_as_strong_as_it_was(
    address: str, folder: Path, watched: Watched
) -> None:
    store = open_store(folder)
    passing = new_id()
    shutil.copytree(resources.files("fedflow") / "data" / "starter", library.folder(store, passing))  # type: ignore[arg-type]
    library.keep(store, passing, library.New(library.MODEL, "Passing"))
    page = watched.page
    wish(page, address)
    model = page.get_by_label("Model", exact=True)
    model.select_option("Passing")
    page.locator("summary", has_text="Start from a picture").click()
    picture = {"name": "start.png", "mimeType": "image/png", "buffer": png_bytes(np.zeros((64, 64, 3), np.uint8), "")}
    page.get_by_label("Picture to start from", exact=True).set_input_files(files=[picture])
    strength = page.get_by_label("Strength")
    strength.fill("0.3")
    for _ in range(2):
        page.reload()
        expect(strength).to_have_value("0.3")
    expect(model).to_have_value(library.PREFIX + passing)
    library.remove(store, passing)
    store.engine.dispose()
    page.reload()
    expect(model).to_have_value("")
    gone = page.get_by_text("The model is no longer in the library. Choose another.")
    expect(gone).to_be_visible()
    expect(strength).to_have_value("0.3")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#f-model-error")).to_have_text("Choose a model.")
    model.select_option("starter")
    drawn(page)


def test_the_navigation_brings_the_last_settings_back_and_one_click_an_empty_form(
    address: str, watched: Watched
) -> None:
    page = watched.page
    wish(page, address, 5)
    add(page, "Watercolour")
    drawn(page)
    prompt, steps = page.get_by_label("Prompt", exact=True), page.locator("#f-steps")
    navigated = page.get_by_role("navigation").get_by_role("link", name="Generate")
    navigated.click()
    expect(prompt).to_have_value("fluent_style, red_apple, fruit")
    expect(steps).to_have_value("5")
    expect(page.get_by_role("switch", name="Watercolour")).to_be_checked()
    prompt.fill("blue_house")
    page.reload()
    expect(prompt).to_have_value("blue_house")
    for _ in range(2):
        page.get_by_role("link", name="Begin with an empty form").click()
        page.wait_for_url(re.compile(r"empty="))
        expect(prompt).to_have_value("")
        expect(page.locator("#adapter-rows .adapter")).to_have_count(0)
        prompt.fill("green_tree")
        page.go_back()
    page.goto(f"{address}/?empty=")
    prompt.fill("green_tree")
    page.get_by_label("Pictures").fill("1")
    drawn(page)
    navigated.click()
    expect(prompt).to_have_value("green_tree")  # and not what was typed there and never sent
    expect(page.locator("#adapter-rows .adapter")).to_have_count(0)


def test_a_preview_is_seen_while_it_is_drawn(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address, steps=100)
    page.get_by_label("Pictures").fill("2")
    page.get_by_label("Width", exact=True).fill("160")
    page.get_by_label("Height", exact=True).fill("80")
    page.get_by_role("button", name="Generate", exact=True).click()
    seen = page.get_by_alt_text("What the picture looks like by now")
    expect(seen).to_be_visible(timeout=SLOW_MS)
    wait_for(lambda: seen.evaluate("(image) => image.naturalWidth > 0"), SLOW_MS / 1000, "the preview")
    assert (
        page.evaluate(
            "(({naturalWidth, naturalHeight}) => naturalWidth / naturalHeight)(document.querySelector('.preview img'))"
        )
        == 2
    )
    expect(page.get_by_text("of 2 pictures are drawn.")).to_be_visible()
    first = seen.get_attribute("src")
    expect(seen).not_to_have_attribute("src", first or "", timeout=SLOW_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".under-way")).to_have_count(0, timeout=SLOW_MS)


def test_the_brush_says_what_is_drawn_anew_by_pointer_and_by_keys(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address)
    drawn(page)
    page.locator(f"{SHOTS} a").first.click()
    source = pixels_of(page, page.locator(".one-picture img").first.evaluate("(image) => image.src"))
    page.get_by_role("button", name="Use as start").click()
    told = page.locator("[data-mask-told]")
    expect(told).to_have_text("Nothing is painted: the whole picture changes.")
    canvas = page.get_by_role("application", name="Mask over the picture")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20, steps=10)
    page.mouse.up()
    expect(told).to_contain_text("Only what is painted changes")
    by_pointer = told.text_content()
    canvas.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("]")
    page.keyboard.press("Space")
    expect(told).not_to_have_text(by_pointer or "")
    page.keyboard.press("Control+z")
    expect(told).to_have_text(by_pointer or "")
    page.keyboard.press("e")
    expect(page.get_by_role("button", name="Erase")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Clear").click()
    expect(told).to_have_text("Nothing is painted: the whole picture changes.")
    page.get_by_role("button", name="Undo").click()
    expect(told).to_have_text(by_pointer or "")
    page.reload()
    expect(told).to_have_text(by_pointer or "")
    page.get_by_label("Prompt", exact=True).fill("fluent_style, blue_circle, symbol")
    page.get_by_label("Strength").fill("1")
    drawn(page)
    expect(told).to_have_text(by_pointer or "")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("Drawn over this picture, strength 1")).to_be_visible()
    changed = pixels_of(page, page.locator(".one-picture img").first.evaluate("(image) => image.src"))
    assert np.array_equal(changed[:, 16:], source[:, 16:]), "what was not painted stays bit for bit"
    assert not np.array_equal(changed[:, :8], source[:, :8])


def test_a_picture_that_is_not_square_is_drawn_shown_and_drawn_over(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address)
    width, height = page.get_by_label("Width", exact=True), page.get_by_label("Height", exact=True)
    width.fill("64")
    height.fill("98")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#f-height_pixels-error")).to_have_text("The model draws multiples of 4; the nearest is 100.")
    height.fill("96")
    page.get_by_role("button", name="Swap width and height").click()
    expect(width).to_have_value("96")
    expect(height).to_have_value("64")
    page.reload()
    expect(width).to_have_value("96")
    drawn(page)
    thumbnail = page.locator(f"{SHOTS} img").first
    assert thumbnail.evaluate("(image) => getComputedStyle(image).objectFit") == "contain"
    thumbnail.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("fluent_style, red_apple, fruit")
    picture = page.locator(".one-picture img").first
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(1.5, rel=0.01)
    source = pixels_of(page, picture.evaluate("(image) => image.src"))
    assert source.shape == (64, 96, 3)
    page.get_by_role("button", name="Use as start").click()
    canvas, frame = page.get_by_role("application", name="Mask over the picture"), page.locator("[data-frame]")
    over = canvas.bounding_box()
    assert over is not None
    assert over["width"] / over["height"] == pytest.approx(1.5, rel=0.02)
    cut = page.get_by_text("what is dark is cut off")
    expect(cut).to_be_hidden()
    width.fill("64")
    expect(cut).to_be_visible()
    kept = frame.bounding_box()
    assert kept is not None
    assert kept["width"] == pytest.approx(over["width"] * 2 / 3, rel=0.01)
    assert kept["x"] - over["x"] == pytest.approx(over["width"] / 6, abs=1)
    page.mouse.move(over["x"] + over["width"] / 2, over["y"] + 4)
    page.mouse.down()
    page.mouse.move(kept["x"] + 4, over["y"] + 4, steps=5)
    page.mouse.up()
    drawn(page)
    page.locator(f"{SHOTS} a").first.click()
    changed = pixels_of(page, page.locator(".one-picture img").first.evaluate("(image) => image.src"))
    assert changed.shape == (64, 64, 3)
    assert np.array_equal(changed[24:], source[24:, 16:80]), "the middle of the picture, no wider than it was"


def test_a_dropped_png_fills_the_form(address: str, watched: Watched) -> None:
    page = watched.page
    text = parameters_text(
        "a (cat:1.2)", negative="dog", steps=33, sampler="Euler a", guidance=4.5, seed=11, size=(96, 64),
        model_name="starter", model_hash="", adapters=[("Watercolour", 0.5), ("Lost", 1.0)],
    )  # fmt: skip
    text += ", Clip skip: 2, Hires upscale: 2, Hires steps: 9"
    png = base64.b64encode(png_bytes(np.zeros((8, 8, 3), np.uint8), text)).decode()
    page.goto(f"{address}/?empty=")
    page.evaluate(DROP, ["main", png])
    expect(page.get_by_text("Adapter “Lost” is not in the library and was left out.")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a (cat:1.2)")
    expect(page.get_by_label("Weight of Watercolour", exact=True)).to_have_value("0.5")
    expect(page.get_by_label("Seed", exact=False).first).to_have_value("11")
    expect(page.locator("#f-sampler")).to_have_value("euler-a")
    expect(page.get_by_label("Width", exact=True)).to_have_value("96")
    expect(page.get_by_label("Height", exact=True)).to_have_value("64")
    expect(page.get_by_text("Not taken over: Clip skip, Hires fix.")).to_be_visible()
    empty = base64.b64encode(b"no picture").decode()
    page.evaluate(DROP, ["main", empty])
    expect(page.get_by_text("The file is no PNG, or is damaged. Choose a PNG.")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a (cat:1.2)")
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    page.locator("summary", has_text="Start from a picture").click()
    page.evaluate(DROP, ["#f-picture", base64.b64encode(buffer.getvalue()).decode()])
    expect(page.get_by_role("application", name="Mask over the picture")).to_be_visible()
    page.get_by_role("button", name="Without a picture").click()
    expect(page.locator("#f-picture")).to_have_count(1)


def test_a_grid_is_compared_and_downloaded(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address)
    add(page, "Watercolour")
    page.locator("summary", has_text="Compare in a grid").click()
    page.get_by_label("Columns differ in").select_option("weight")
    page.get_by_label("Values of the columns").fill("0, 3")
    page.get_by_role("button", name="Draw the grid").click()
    expect(page.locator("#wrong")).to_contain_text("3 is too much; at most 2.")
    page.get_by_label("Values of the columns").fill("0, 1.5")
    page.get_by_label("Rows differ in").select_option(label="Steps")
    page.get_by_label("Values of the rows").fill("4, 8")
    page.get_by_role("button", name="Draw the grid").click()
    expect(page.get_by_role("link", name="Download as one PNG")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("columnheader")).to_have_text(["Weight 0", "Weight 1.5"])
    expect(page.get_by_role("rowheader")).to_have_text(["4 steps", "8 steps"])
    expect(page.get_by_role("img", name="Weight 1.5, 8 steps")).to_be_visible()
    around = "(all) => all.map((each) => each.clientHeight - each.querySelector('img').clientHeight)"
    room = page.locator(".grid-table tbody td").evaluate_all(around)
    assert room == [0] * 4, "a picture takes the room of the blank that was there"
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download as one PNG").click()
    with Image.open(begun.value.path()) as sheet:
        assert sheet.width >= 2 * 128
    assert accessibility.faults(page) == []


def test_words_of_the_prompt_are_compared_over_models(address: str, watched: Watched) -> None:
    page = watched.page
    wish(page, address)
    page.locator("summary", has_text="Compare in a grid").click()
    values = page.get_by_label("Values of the columns")
    expect(values).to_be_hidden()
    page.get_by_label("Columns differ in").select_option(label="Words of the prompt")
    values.fill("red_apple\nblue_house")
    expect(page.get_by_text("First words that stand in the prompt").filter(visible=True)).to_have_count(1)
    page.get_by_label("Rows differ in").select_option(label="Model")
    expect(page.get_by_label("Values of the rows")).to_be_hidden()
    models = page.get_by_role("group", name="Models of the rows")
    models.get_by_label("starter").check()
    models.get_by_label("Twin").check()
    page.reload()
    expect(values).to_have_value("red_apple\nblue_house")
    expect(models.get_by_label("starter")).to_be_checked()
    expect(models.get_by_label("Twin")).to_be_checked()
    assert accessibility.faults(page) == []
    page.get_by_role("button", name="Draw the grid").click()
    expect(page.get_by_role("link", name="Download as one PNG")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("columnheader")).to_have_text(["red_apple", "blue_house"])
    expect(page.get_by_role("rowheader")).to_have_text(["starter", "Twin"])
    images = [page.get_by_role("img", name=f"{words}, {model}") for model in ("starter", "Twin") for words in WORDS]
    drawings = [pixels_of(page, f"{address}{image.get_attribute('src')}") for image in images]
    assert np.array_equal(drawings[0], drawings[2]), "a copy of the starter draws alike"
    assert not np.array_equal(drawings[0], drawings[1])


@pytest.mark.parametrize("width", [1280, 380])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_cut_off(browser: Browser, address: str, width: int, scheme: str) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with browser.new_context(**options) as context:  # type: ignore[arg-type]
        page = context.new_page()
        wish(page, address)
        add(page, "From elsewhere")
        page.locator("summary", has_text="Start from a picture").click()
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
        file = {"name": "a.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
        page.locator("#f-picture").set_input_files(file)  # type: ignore[arg-type]
        expect(page.get_by_role("application")).to_be_visible()
        assert accessibility.faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto(f"{address}/gallery")
        assert accessibility.faults(page) == []
