"""Grids that differ in words of the prompt and in models."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from adapters import add_adapter
from PIL import Image
from tests.unit.client_app.conftest import Visitor

from fedflow.client.services import drawings, jobs, library, library_shapes
from fedflow.client.services.drawings import Axis, DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import carry_out
from fedflow.models import BaseModel, check_fits, open_model, read_adapter
from fedflow.plan import STARTER


@pytest.fixture
def tiny(store: Store, model: BaseModel, tiny_model_folder: Path) -> str:
    """The tests' model in the library, as a form names it."""
    asset_id = jobs.new_id()
    shutil.copytree(tiny_model_folder, library.folder(store, asset_id), dirs_exist_ok=True)
    library.keep(store, asset_id, library.New("model", "Tiny", base_hash=model.content_hash))
    return library.PREFIX + asset_id


def pixels(store: Store, drawing: drawings.Drawing) -> np.ndarray:
    with Image.open(store.blobs.get(drawing.sha256)) as image:
        return np.asarray(image.convert("RGB"))


def headings(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<th scope="(\w+)"[^>]*>([^<]+)', page)


@pytest.mark.parametrize(
    ("prompt", "words", "prompts"),
    [
        ("a cat, a cathedral", ("cat", "dog"), ["a cat, a cathedral", "a dog, a cathedral"]),
        ("(cat:1.3) and cat", ("cat", "dog"), ["(cat:1.3) and cat", "(dog:1.3) and dog"]),
        ("赤いりんご", ("赤", "青"), ["赤いりんご", "青いりんご"]),
        (r"a \d", (r"\d", r"\1"), [r"a \d", r"a \1"]),
        ("a cat", ("a cat", "two dogs, asleep"), ["a cat", "two dogs, asleep"]),
    ],
)
def test_words_take_each_other_s_place(prompt: str, words: tuple[str, ...], prompts: list[str]) -> None:
    request = DrawRequest(prompt=prompt, seed=1, across=Axis(kind="prompt", values=words))
    assert [shot.prompt for shot in drawings.shots(request)] == prompts


def test_models_and_words_are_drawn_side_by_side(store: Store, visitor: Visitor, tiny: str, asked) -> None:
    drawn = asked(
        grid="on", prompt="a red cat", down_kind="prompt", down_values="red\nblue, furry", across_kind="model",
        across_models=["", STARTER, tiny],
    )  # fmt: skip
    cells = sorted(drawn, key=lambda each: int(each.made_from["cell"]))
    assert [(each.model, each.prompt, each.width, each.seed) for each in cells] == [
        ("starter", "a red cat", 64, 7), ("Tiny", "a red cat", 16, 7),
        ("starter", "a blue, furry cat", 64, 7), ("Tiny", "a blue, furry cat", 16, 7),
    ]  # fmt: skip
    assert [each.model for each in drawn] == ["starter", "starter", "Tiny", "Tiny"], "each model is opened once"
    assert not np.array_equal(pixels(store, cells[1]), pixels(store, cells[3]))
    job_id = drawn[0].job_id
    page = visitor.client.get(f"/compare/{job_id}").text
    assert headings(page) == [("col", "starter"), ("col", "Tiny"), ("row", "red"), ("row", "blue, furry")]
    assert '<caption class="unseen">Grid of pictures: Seed 7 · 2 steps · Guidance 3 · UniPC</caption>' in page
    assert '<p class="muted shared" dir="auto">Seed 7 · 2 steps · Guidance 3 · UniPC</p>' in page
    with Image.open(io.BytesIO(visitor.client.get(f"/compare/{job_id}.png", buffered=True).data)) as sheet:
        assert sheet.height > 2 * 128
    form = visitor.client.get(f"/?job={job_id}").text
    assert re.findall(r'name="across_models" value="([^"]+)" checked', form) == [STARTER, tiny]
    assert re.search(r'name="down_values"[^>]*>\s*red\nblue, furry</textarea>', form)
    assert "Words of the prompt" in visitor.client.get("/compare").text
    again = visitor.client.get(f"/?like={cells[3].id}").text
    assert re.findall(r'<option value="([^"]+)" data-hash="[^"]*" selected', again) == [tiny]
    assert re.search(r">\s*a blue, furry cat</textarea>", again)
    library.remove(store, tiny.removeprefix(library.PREFIX))
    assert ("col", "A model that is gone") in headings(visitor.client.get(f"/compare/{job_id}").text)


def test_numbers_stand_as_the_reader_writes_them_and_are_copied_with_a_point(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    fur = add_adapter(store, model, "Fur")
    drawn = asked(
        grid="on", adapter=fur, active=fur, weight="0.8125", guidance="2.5", across_kind="guidance",
        across_values="2.5, 4", down_kind="steps", down_values="2",
    )  # fmt: skip
    [weighed] = asked(
        grid="on", adapter=fur, active=fur, weight="1", guidance="2.5", across_kind="weight", across_values="0.75"
    )
    visitor.client.set_cookie("fedflow_language", "uk")
    grid = visitor.client.get(f"/compare/{drawn[0].job_id}").text
    assert headings(grid)[:2] == [("col", "Керування 2,5"), ("col", "Керування 4")]
    assert "Fur 0,8125" in grid
    grid = visitor.client.get(f"/compare/{weighed.job_id}").text
    assert headings(grid)[0] == ("col", "Вага 0,75")  # noqa: RUF001
    assert "Керування 2,5" in grid
    page = visitor.client.get(f"/gallery/{drawn[0].id}").text
    assert "<dd>Fur 0,8125</dd>" in page
    assert "<dd>2,5</dd>" in page
    assert "&lt;lora:Fur:0.8125&gt;" in page
    form = visitor.client.get(f"/?like={drawn[0].id}").text
    assert 'name="weight" min="-2" max="2" step="0.05" value="0.8125"' in form
    answer = visitor.post("/", model=STARTER, prompt="cat", grid="on", across_kind="guidance", across_values="2, 99.5")
    assert "99,5 забагато; щонайбільше 30." in answer.text


def test_a_grid_of_models_goes_on_with_what_it_lacks(store: Store, tiny: str, asked) -> None:
    first, last = asked(grid="on", across_kind="model", across_models=[STARTER, tiny])
    [job] = jobs.listed(store, 1)
    with store.begin() as session:
        session.get_one(type(job), job.id).status = jobs.STOPPED
    drawings.remove(store, last.id)
    jobs.resume(store, job.id)
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job.id)
    [kept, again] = drawings.of_job(store, job.id)
    assert (kept.id, again.model, again.sha256) == (first.id, "Tiny", last.sha256)


def test_an_adapter_that_does_not_fit_a_model_is_told_before_anything_is_drawn(
    store: Store, visitor: Visitor, model: BaseModel, tiny: str
) -> None:
    fur, ink = add_adapter(store, model, "Fur"), add_adapter(store, open_model(STARTER), "Ink")
    form = {"model": STARTER, "prompt": "cat", "across_kind": "model", "across_models": [STARTER, tiny], "weight": "1"}
    answer = visitor.post("/", grid="on", adapter=fur, active=fur, **form)
    told = "Adapter “Fur” does not fit model “starter”; switch it off, or leave the model out."
    assert (answer.status_code, answer.text.count(told), jobs.waiting(store)) == (422, 2, [])
    ticked = re.findall(r'name="across_models" value="([^"]+)" aria-invalid="true" checked', answer.text)
    assert ticked == [STARTER, tiny]
    answer = visitor.post("/", grid="on", adapter=ink, active=ink, **form)
    assert "Adapter “Ink” does not fit model “Tiny”" in answer.text
    assert visitor.post("/", grid="on", adapter=ink, **form).status_code == 303, "it is off"


@pytest.mark.parametrize("text_encoder", [False, True])
def test_headers_tell_the_same_as_the_model_itself(
    store: Store, model: BaseModel, tiny: str, text_encoder: bool
) -> None:
    starter = open_model(STARTER)
    for base, fitting in ((model, tiny), (starter, STARTER)):
        adapter = add_adapter(store, base, f"of {fitting}", text_encoder=text_encoder)
        check_fits(base, read_adapter(library.adapter_file(store, adapter))[0])
        assert [library_shapes.fits(store, adapter, each) for each in (tiny, STARTER)] == [
            fitting == tiny, fitting == STARTER,
        ]  # fmt: skip
        assert library_shapes.fits(store, adapter, "/not/here"), "nobody knows before it is opened"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"across_kind": "model"}, "Choose one to ten models."),
        ({"across_kind": "model", "across_models": "library:gone"}, "The model is no longer in the library"),
        ({"across_kind": "prompt"}, "Give one to ten values"),
        ({"across_kind": "prompt", "across_values": "dog, cow"}, "“dog” does not stand in the prompt."),
        (
            {"across_kind": "prompt", "across_values": "cat, " + "a" * 500, "prompt": "cat " * 400},
            "would have more than",
        ),
        (
            {"across_kind": "model", "across_models": STARTER, "width_pixels": "65"},
            "The model draws multiples of 4; the nearest is 64.",
        ),
    ],
)
def test_what_is_wrong_is_told_beside_the_field(
    store: Store, visitor: Visitor, form: dict[str, str], told: str
) -> None:
    answer = visitor.post("/", grid="on", **{"model": STARTER, "prompt": "cat", **form})
    assert (answer.status_code, told in answer.text, jobs.waiting(store)) == (422, True, [])
    [here] = re.findall(r'aria-current="page"[^>]*>.*?</a>', answer.text, re.DOTALL)
    assert "Generate" in here
