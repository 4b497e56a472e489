"""Generate, opened from the navigation, begins with what was drawn last."""

from __future__ import annotations

import re
from pathlib import Path

from adapters import add_adapter
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.test_generate import mask_url, picture_bytes, value_of

from fedflow.client.services import drawings_start, jobs, library
from fedflow.client.store import Store
from fedflow.models import BaseModel

NUMBERS = ("pictures", "steps", "guidance", "width_pixels", "height_pixels", "seed")


def numbers(page: str) -> dict[str, str]:
    """What stands in the form's fields of numbers; those that are empty are left out."""
    found = {name: re.findall(rf'<input type="number"[^>]*value="([^"]*)"[^>]*name="{name}"', page) for name in NUMBERS}
    return {name: values[0] for name, values in found.items() if values and values[0]}


def chosen(page: str) -> str:
    """What the choice of models shows."""
    [select] = re.findall(r'<select id="f-model".*?</select>', page, re.DOTALL)
    return str(re.search(r"<option[^>]* selected>([^<]*)", select)[1])  # type: ignore[index]


def test_the_form_begins_as_the_last_one_was_sent(store: Store, visitor: Visitor, model: BaseModel, asked) -> None:
    on, off = add_adapter(store, model, "Fur"), add_adapter(store, model, "Bold ink")
    asked(
        prompt="a cat", negative_prompt="a dog", pictures="3", guidance="2.5", sampler="euler", seed="41",
        width_pixels="24", height_pixels="16",
        adapter=[on, off], weight=["0.65", "1.5"], active=[on],
    )  # fmt: skip
    page = visitor.client.get("/").text
    assert numbers(page) == {
        "pictures": "3", "steps": "2", "guidance": "2.5", "width_pixels": "24", "height_pixels": "16",
    }  # fmt: skip
    assert re.search(r'<textarea[^>]*name="prompt"[^>]*>\s*a cat</textarea>', page)
    assert 'value="a dog"' in page
    assert re.search(r'<option value="euler" selected>', page)
    assert re.search(r'<option value="other" selected>', page)
    assert re.findall(r'name="active" value="([^"]+)"[^>]*?( checked)?>', page)[:2] == [(on, " checked"), (off, "")]
    assert re.findall(r'name="weight"[^>]*value="([^"]+)"', page)[:2] == ["0.65", "1.5"]


def test_what_was_for_one_drawing_alone_stays_with_it(store: Store, visitor: Visitor, asked) -> None:
    start = drawings_start.take_in(store, picture_bytes())
    [drawn] = asked(start=start, mask=mask_url((0, 0, 300, 512)), strength="0.9")
    page = visitor.client.get("/").text
    assert re.search(r'name="start" value=""><input type="hidden" name="mask" value=""', page)
    assert "width_pixels" not in numbers(page), "the drawn picture's own size was not typed"
    again = visitor.client.get(f"/?job={drawn.job_id}").text
    assert (start in again, value_of(again, "strength")) == (True, "0.9")
    asked(grid="on", across_kind="seed", across_values="1, 2")
    page = visitor.client.get("/").text
    assert (re.findall(r'<option value="seed" selected>', page), value_of(page, "pictures")) == ([], "1")


def test_an_empty_form_is_one_link_away_and_links_mean_what_they_meant(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    link = re.compile(r'href="(/\?empty=)"')
    assert not link.search(visitor.client.get("/").text), "nothing was drawn: it is empty"
    asked(prompt="a cat", pictures="3")
    [address] = link.findall(visitor.client.get("/").text)
    adapter = add_adapter(store, model, "Fur")
    for other in (address, "/?model=starter", f"/?adapter={adapter}"):
        page = visitor.client.get(other).text
        assert (value_of(page, "pictures"), "a cat</textarea>" in page) == ("4", False), other


def test_what_is_gone_since_then_is_told(store: Store, visitor: Visitor, asked) -> None:
    new = library.New(library.MODEL, "Ink", base_hash="a" * 64)
    library.keep(store, "0" * 32, new)
    visitor.post("/", model=f"{library.PREFIX}{'0' * 32}", prompt="cat", pictures="2")
    assert jobs.newest(store, "draw") is not None
    library.remove(store, "0" * 32)
    page = visitor.client.get("/").text
    assert "The model is no longer in the library. Choose another." in page
    assert value_of(page, "pictures") == "2"
    assert "Choose one" in chosen(page)
    for sent in ({}, {"model": ""}):
        answer = visitor.post("/", prompt="cat", **sent)
        assert (answer.status_code, "Choose one" in chosen(answer.text)) == (422, True)
        assert re.search(r'id="f-model-error">.*Choose a model\.', answer.text)
    assert len(jobs.listed(store, 9)) == 1, "nothing is drawn with another model instead"
    typed = visitor.post("/", prompt="cat", model="other", model_other="")
    assert re.search(r'id="f-model_other-error">.*Fill this in\.', typed.text)
    assert "Another" in chosen(typed.text)
    assert "Choose one" in chosen(visitor.client.get(f"/?model={library.PREFIX}{'0' * 32}").text)


def test_what_cannot_be_drawn_is_told_before_it_waits(
    store: Store, visitor: Visitor, model: BaseModel, tiny_model_folder: Path
) -> None:
    gone = visitor.post("/", prompt="cat", model=f"{library.PREFIX}{'0' * 32}")
    assert re.search(r'id="f-model-error">.*The model is no longer in the library\.', gone.text)
    fur, on = add_adapter(store, model, "Fur"), {"prompt": "cat", "model": "starter", "weight": "1"}
    for more in ({}, {"grid": "on", "across_kind": "seed", "across_values": "1, 2"}):
        answer = visitor.post("/", adapter=fur, active=fur, **on, **more)
        told = "Adapter “Fur” does not fit model “starter”. Switch it off, or choose another model."
        assert (answer.status_code, answer.text.count(told)) == (422, 2)
    assert (gone.status_code, jobs.listed(store, 9)) == (422, [])
    assert visitor.post("/", adapter=fur, **on).status_code == 303, "it is off"
    own = {"model": "other", "model_other": str(tiny_model_folder)}
    assert visitor.post("/", adapter=fur, active=fur, **{**on, **own}).status_code == 303
