"""The form of a drawing, grids, starts and masks, and files that fill the form."""

from __future__ import annotations

import base64
import io
import multiprocessing
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from adapters import add_adapter
from PIL import Image
from tests.unit.client_app.conftest import Visitor

from fedflow.client.database.tables import Job
from fedflow.client.services import drawings, drawings_start, jobs, library
from fedflow.client.services.drawings import Axis, DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.client.worker import drawing_preview, drawing_watch
from fedflow.client.worker.main import carry_out
from fedflow.errors import MistakeError
from fedflow.generation import generate, parameters_text, png_bytes
from fedflow.models import BaseModel, open_model


def picture_bytes(side: int = 20, colour: str = "red", kind: str = "PNG", **more: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side + 10), colour).save(buffer, kind, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


def value_of(page: str, name: str) -> str:
    """What stands in a field of a number."""
    [found] = re.findall(rf'<input type="number"[^>]*value="([^"]*)"[^>]*name="{name}"', page)
    return str(found)


def mask_url(box: tuple[int, int, int, int] | None) -> str:
    mask, buffer = Image.new("L", (512, 512)), io.BytesIO()
    if box:
        mask.paste(255, box)
    mask.save(buffer, "PNG")
    return drawings_start.DATA_URL + base64.b64encode(buffer.getvalue()).decode()


def pixels(store: Store, drawing: drawings.Drawing) -> np.ndarray:
    with Image.open(store.blobs.get(drawing.sha256)) as image:
        return np.asarray(image.convert("RGB"))


def test_adapters_act_with_their_weights_and_are_told_everywhere(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    first, second = add_adapter(store, model, "Fur"), add_adapter(store, model, "Bold ink")
    [plain] = asked()
    [drawn] = asked(adapter=[first, second], weight=["0.65", "1.5"], active=[first])
    assert drawn.adapters == [["Fur", 0.65]]
    assert not np.array_equal(pixels(store, plain), pixels(store, drawn))
    with Image.open(store.blobs.get(drawn.sha256)) as image:
        assert image.info["parameters"].startswith("cat <lora:Fur:0.65>\n")
    for address in (f"/?like={drawn.id}", f"/?job={drawn.job_id}"):
        page = visitor.client.get(address).text
        rows = re.findall(r'name="active" value="([^"]+)"[^>]*?( checked)?>', page)
        assert rows[:2] == [(first, " checked"), (second, "")]
        assert re.findall(r'name="weight"[^>]*value="([^"]+)"', page)[:2] == ["0.65", "1.5"]
    library.rename(store, first, "Fur 2")
    [again] = asked(adapter=first, weight="0.65", active=first)
    assert (again.adapters, again.sha256 == drawn.sha256) == ([["Fur 2", 0.65]], False)
    assert np.array_equal(pixels(store, again), pixels(store, drawn))
    assert "Fur 0.65" in visitor.client.get(f"/gallery/{drawn.id}").text


def test_an_adapter_of_a_federation_draws_and_is_compared_and_chosen_by_its_link(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    plain = add_adapter(store, model, "Fur")
    joint = add_adapter(store, model, "Three", asset_id=f"{jobs.new_id()}-{jobs.new_id()}")
    form = {"adapter": [plain, joint], "weight": ["1", "0.5"], "active": [plain, joint]}
    [drawn] = asked(**form)
    assert drawn.adapters == [["Fur", 1.0], ["Three", 0.5]]
    cells = asked(grid="on", across_kind="adapter", **form)
    assert [each.adapters for each in cells] == [[], [["Fur", 1.0]], [["Three", 0.5]]]
    for address in (f"/?adapter={joint}", f"/?like={cells[2].id}"):
        page = visitor.client.get(address).text
        assert re.search(rf'name="active" value="{joint}"[^>]* checked', page)
        assert re.search(r'<div id="told" role="status"></div>', page), "nothing is left out"


def test_an_adapter_that_is_not_known_is_told_beside_the_form(store: Store, visitor: Visitor, model: BaseModel) -> None:
    kept, gone = add_adapter(store, model, "Fur"), add_adapter(store, model, "Lost")
    library.remove(store, gone)
    sent = {"adapter": [kept, gone], "weight": ["1", "1"], "active": [kept, gone]}
    for more in ({}, {"grid": "on", "across_kind": "adapter"}):
        answer = visitor.post("/", model="starter", prompt="cat", **sent, **more)
        assert (answer.status_code, jobs.waiting(store)) == (422, [])
        assert re.search(r'class="error".*was taken out of the form\. Send it again', answer.text)
        assert kept in answer.text
    assert "The adapter is no longer in the library." in visitor.client.get(f"/?adapter={gone}").text
    no_number = visitor.post("/", model="starter", prompt="cat", adapter=kept, weight="nan", active=kept)
    assert "An adapter&#39;s weight is a number from -2 to 2." in no_number.text


def test_an_adapter_begins_with_the_model_it_was_trained_on_not_with_a_copy_of_it(
    store: Store, visitor: Visitor, model: BaseModel, tiny_model_folder: Path
) -> None:
    ids = []
    for name in (model.name, "Copy"):
        ids.append(jobs.new_id())
        shutil.copytree(tiny_model_folder, library.folder(store, ids[-1]), dirs_exist_ok=True)
        library.keep(store, ids[-1], library.New("model", name, base_hash=model.content_hash))
    page = visitor.client.get(f"/?adapter={add_adapter(store, model, 'Fur')}").text
    assert re.findall(r'<option value="([^"]+)"[^>]*selected', page)[:1] == [f"library:{ids[0]}"]
    starter = open_model("starter")
    library.keep(store, jobs.new_id(), library.New("model", "starter copy", base_hash=starter.content_hash))
    page = visitor.client.get(f"/?adapter={add_adapter(store, starter, 'Ink')}").text
    assert re.findall(r'<option value="([^"]+)"[^>]*selected', page)[:1] == ["starter"]


def test_one_of_another_model_is_marked_and_a_misfit_fails_in_one_line(
    store: Store, visitor: Visitor, model: BaseModel, tiny_model_folder: Path
) -> None:
    own_id = jobs.new_id()
    shutil.copytree(tiny_model_folder, library.folder(store, own_id), dirs_exist_ok=True)
    library.keep(store, own_id, library.New("model", "Own", base_hash=model.content_hash))
    foreign = add_adapter(store, model, "Foreign", base_hash="f" * 64)
    request = DrawRequest(model=f"library:{own_id}", prompt="cat", adapters=((foreign, 1.0),), steps=1, pictures=1)
    job_id = drawings.ask(store, request)
    assert re.search(r"data-misfit>It was trained on another model", visitor.client.get(f"/?job={job_id}").text)
    path = library.adapter_file(store, foreign)
    starter = open_model("starter")
    path.write_bytes(library.adapter_file(store, add_adapter(store, starter, "Starter's")).read_bytes())
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    assert job.status == jobs.FAILED
    assert job.message.startswith("adapter 'Foreign' does not fit model 'Own' (")
    assert "\n" not in job.message
    library.remove(store, foreign)
    jobs.resume(store, job_id)
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    assert "no longer in the library" in visitor.client.get("/").text
    assert "An adapter is no longer in the library and was left out." in visitor.client.get(f"/?job={job_id}").text


def test_a_grid_has_a_picture_for_each_pair_of_values_and_one_sheet(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    adapter = add_adapter(store, model, "Fur")
    form = {"adapter": adapter, "weight": "1", "active": adapter, "prompt": "cat"}
    drawn = asked(grid="on", across_kind="adapter", down_kind="steps", down_values="1, 3", **form)
    assert [(each.adapters, each.steps, each.seed) for each in drawn] == [
        ([], 1, 7), ([["Fur", 1.0]], 1, 7), ([], 3, 7), ([["Fur", 1.0]], 3, 7),
    ]  # fmt: skip
    job_id = drawn[0].job_id
    page = visitor.client.get(f"/compare/{job_id}").text
    assert re.findall(r'<th scope="(\w+)">([^<]+)', page) == [
        ("col", "No adapter"), ("col", "Fur"), ("row", "1 step"), ("row", "3 steps"),
    ]  # fmt: skip
    sheet = visitor.client.get(f"/compare/{job_id}.png", buffered=True)
    with Image.open(io.BytesIO(sheet.data)) as image:
        assert image.width > 2 * 128
    again = visitor.client.get(f"/?like={drawn[3].id}").text
    assert re.search(r'name="steps"[^>]*value="3"|value="3"[^>]*name="steps"', again)
    [whole] = asked(**{**form, "steps": "3"})
    assert whole.sha256 == drawn[3].sha256, "a cell is the picture that its settings draw alone"
    drawings.remove(store, drawn[0].id)
    assert visitor.client.get(f"/compare/{job_id}.png").status_code == 404
    grids = visitor.client.get("/compare").text
    assert re.findall(r'href="/compare/([^"?]+)', grids) == [job_id]
    assert 'href="/gallery" aria-current="page"' in grids, "a grid is a part of the gallery"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, "Choose what differs from column to column."),
        ({"across_kind": "steps", "across_values": ""}, "Give one to ten values"),
        ({"across_kind": "steps", "across_values": "1,2,3,4,5,6,7,8,9,10,11"}, "Give one to ten values"),
        ({"across_kind": "steps", "across_values": "a"}, "Write numbers with commas between them"),
        ({"across_kind": "guidance", "across_values": "2, 99"}, "99 is too much; at most 30."),
        ({"across_kind": "sampler", "across_values": "plms"}, "There is no sampler “plms”."),
        ({"across_kind": "weight", "across_values": "1"}, "Add an adapter to the form first."),
        ({"across_kind": "adapter"}, "Add the adapters to compare to the form first."),
        (
            {"across_kind": "seed", "across_values": "1", "down_kind": "seed", "down_values": "2"},
            "Rows and columns cannot differ in the same.",
        ),
    ],
)
def test_a_grid_that_is_none_is_told_beside_the_field(
    store: Store, visitor: Visitor, form: dict[str, str], told: str
) -> None:
    answer = visitor.post("/", grid="on", model="starter", prompt="cat", **form)
    assert (answer.status_code, told in answer.text, jobs.waiting(store)) == (422, True, [])


def test_axes_and_cells_by_hand() -> None:
    adapters = (("a", 1.0), ("b", 0.5))
    request = DrawRequest(
        prompt="cat", seed=1, adapters=adapters,
        across=Axis(kind="weight", values=("0", "2")), down=Axis(kind="adapter", values=("", "b")),
    )  # fmt: skip
    assert [cell.adapters for cell in drawings.shots(request)] == [(), (), (("b", 0.0),), (("b", 2.0),)]
    last = DrawRequest(prompt="cat", seed=drawings.HIGHEST_SEED, pictures=2)
    assert [shot.seed for shot in drawings.shots(last)] == [drawings.HIGHEST_SEED, 0]


def test_a_picture_is_drawn_over_within_the_mask_alone(store: Store, visitor: Visitor, asked) -> None:
    sent = {"csrf_token": visitor.token(), "picture": (io.BytesIO(picture_bytes(40)), "a.png")}
    part = visitor.client.post("/start", data=sent).text
    found = re.search(r'name="start" value="([0-9a-f]{64})"', part)
    assert found is not None
    [drawn] = asked(start=found[1], mask=mask_url((0, 0, 256, 512)), strength="0.9")
    assert {"start": found[1], "strength": 0.9}.items() <= drawn.made_from.items()
    assert (pixels(store, drawn)[:, 8:] == (255, 0, 0)).all()
    assert not (pixels(store, drawn)[:, :8] == (255, 0, 0)).all()
    assert "strength 0.9" in visitor.client.get(f"/gallery/{drawn.id}").text
    again = visitor.client.get(f"/?like={drawn.id}").text
    assert f'name="mask" value="{drawn.made_from["mask"]}"' in again
    [unpainted] = asked(start=found[1], mask=mask_url(None), strength="0.5")
    assert unpainted.made_from["mask"] == ""
    to_form = visitor.post(f"/gallery/{drawn.id}/start")
    drawings.remove(store, drawn.id)
    assert re.search(r'name="start" value="[0-9a-f]{64}"', visitor.client.get(to_form.location).text)
    assert not drawings_start.is_there(store, drawn.made_from["mask"]), "nothing needs it any more"
    assert drawings_start.is_there(store, found[1]), "another picture was drawn over it too"
    drawings.remove(store, unpainted.id)
    assert not drawings_start.is_there(store, found[1])


def test_a_grid_tells_what_all_its_pictures_share(store: Store, visitor: Visitor, asked) -> None:
    form = {
        "grid": "on",
        "across_kind": "seed",
        "across_values": "1",
        "start": drawings_start.take_in(store, picture_bytes()),
    }
    told = "UniPC · Width 24 pixels · Height 16 pixels · {} · Strength 0.5 · Not to be shown: a dog"
    for mask, over in (
        (mask_url((0, 0, 512, 512)), "Over a picture, where it is painted"),
        ("", "Over a whole picture"),
    ):
        form |= {
            "mask": mask,
            "strength": "0.5",
            "width_pixels": "24",
            "height_pixels": "16",
            "negative_prompt": "a dog",
        }
        [drawn] = asked(**form)
        assert told.format(over) in visitor.client.get(f"/compare/{drawn.job_id}").text


def test_a_start_of_another_shape_is_cut_around_its_middle_and_never_squashed(store: Store, asked) -> None:
    image, buffer = Image.new("RGB", (64, 32), "red"), io.BytesIO()
    image.paste("blue", (16, 0, 48, 32))
    image.paste("lime", (24, 8, 40, 24))
    image.save(buffer, "PNG")
    start = drawings_start.take_in(store, buffer.getvalue())
    assert drawings_start.size_of(store, start) == (64, 32)
    below = mask_url((0, 448, 512, 512))  # the lowest eighth
    [square] = asked(start=start, mask=below, width_pixels="32", height_pixels="32")
    seen = pixels(store, square)
    assert (seen.shape, (seen[4, 2:30] == (0, 0, 255)).all()) == ((32, 32, 3), True), "the ends are cut off"
    assert (seen[10:22, 10:22] == (0, 255, 0)).all()
    assert not (seen[28:] == (0, 0, 255)).all(), "what is painted is drawn anew"
    [wide] = asked(start=start, mask=below, width_pixels="32", height_pixels="16")
    assert (wide.width, wide.height, pixels(store, wide).shape) == (32, 16, (16, 32, 3))
    assert pixels(store, wide)[2, 2].tolist() == [255, 0, 0]
    assert pixels(store, wide)[8, 16].tolist() == [0, 255, 0]
    [whole] = asked(start=start, width_pixels="16", height_pixels="24", strength="0.5")
    assert pixels(store, whole).shape == (24, 16, 3)


def test_a_mask_of_which_nothing_is_left_is_told(store: Store, visitor: Visitor, tiny_model_folder: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 16), "red").save(buffer, "PNG")
    start = drawings_start.take_in(store, buffer.getvalue())
    mask = drawings_start.take_in_mask(store, mask_url((0, 0, 64, 512)))
    job_id = drawings.ask(store, DrawRequest(model=str(tiny_model_folder), prompt="cat", start=start, mask=mask))
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    assert job.status == jobs.FAILED
    assert "All that is painted is cut off by the width and height." in visitor.client.get("/").text


def test_width_and_height_go_into_picture_file_form_grid_and_gallery(store: Store, visitor: Visitor, asked) -> None:
    [drawn] = asked(width_pixels="48", height_pixels="32")
    with Image.open(store.blobs.get(drawn.sha256)) as image:
        assert (image.size, (drawn.width, drawn.height)) == ((48, 32), (48, 32))
        assert "Size: 48x32," in image.info["parameters"]
    again = visitor.client.get(f"/?like={drawn.id}").text
    assert (value_of(again, "width_pixels"), value_of(again, "height_pixels")) == ("48", "32")
    [own] = asked(height_pixels="32")
    assert (own.width, own.height) == (16, 32), "the model's own where nothing is asked for"
    cells = asked(grid="on", across_kind="steps", across_values="1, 2", width_pixels="48", height_pixels="16")
    assert [(each.width, each.height) for each in cells] == [(48, 16)] * 2
    sheet = visitor.client.get(f"/compare/{cells[0].job_id}.png", buffered=True)
    with Image.open(io.BytesIO(sheet.data)) as image:
        assert image.width > 2 * 128
        assert image.height < 128, "a picture in it is a third as high as it is wide"
    assert 'width="48" height="32"' in visitor.client.get("/gallery").text


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"width_pixels": "50"}, {"width_pixels": "multiples of 4; the nearest is 52."}),
        ({"height_pixels": "17"}, {"height_pixels": "multiples of 4; the nearest is 16."}),
        (
            {"width_pixels": "8", "height_pixels": "4096"},
            {"width_pixels": "at least 16", "height_pixels": "at most 2,048"},
        ),
        ({"width_pixels": "wide"}, {"width_pixels": "Write a whole number."}),
        (
            {"model": "other", "model_other": "a/hub-name", "width_pixels": "500"},
            {"width_pixels": "of 8; the nearest is 504."},
        ),
    ],
)
def test_a_side_that_cannot_be_drawn_is_told_beside_it(
    store: Store, visitor: Visitor, form: dict[str, str], told: dict[str, str]
) -> None:
    for more in ({}, {"grid": "on", "across_kind": "steps", "across_values": "1"}):
        answer = visitor.post("/", **{"model": "starter", "prompt": "cat", **form, **more})
        assert (answer.status_code, jobs.waiting(store)) == (422, [])
        for name, words in told.items():
            assert re.search(rf'id="f-{name}-error".*?{words}', answer.text, re.DOTALL)
    answer = visitor.post("/", model="starter", prompt="cat", width_pixels="52", height_pixels="2048")
    assert answer.status_code == 303


def test_a_picture_s_page_is_called_by_its_prompt(store: Store, visitor: Visitor, asked) -> None:
    [short], [long] = asked(prompt="<b>cat</b>"), asked(prompt="cat " * 40)
    [longer] = asked(prompt="cat " * 400)
    page = visitor.client.get(f"/gallery/{longer.id}").text
    assert re.search(r'<p class="prompt" dir="auto">(cat ){98}cat…</p>', page)
    assert page.count("cat " * 399) == 1, "whole in the settings as text alone"
    assert "<h1>&lt;b&gt;cat&lt;/b&gt;</h1>" in visitor.client.get(f"/gallery/{short.id}").text
    [heading] = re.findall("<h1>([^<]+)</h1>", visitor.client.get(f"/gallery/{long.id}").text)
    assert heading == "cat " * 13 + "cat…"


def test_how_many_of_its_pictures_are_drawn_stands_with_the_steps(store: Store, visitor: Visitor, asked) -> None:
    [_, second, _] = asked(pictures="3")
    drawings.remove(store, second.id)
    with store.begin() as session:
        job = session.get_one(Job, second.job_id)
        job.status, job.done = jobs.RUNNING, 4
    for address in ("/drawn", "/activity"):
        page = visitor.client.get(address).text
        assert "4 of 6 steps" in page
        assert "2 of 3 pictures are drawn." in page


def test_what_an_upload_holds_besides_its_pixels_is_left_behind(store: Store) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret words"
    sha256 = drawings_start.take_in(store, picture_bytes(1500, kind="JPEG", exif=exif, comment=b"secret words"))
    kept = store.blobs.get(sha256).read_bytes()
    assert b"secret" not in kept
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.size, set(image.info)) == ((1500, 1510), set())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is damaged"),
        (picture_bytes(kind="GIF"), "is none of PNG, JPEG, WEBP, or is damaged; save it as one"),
        (picture_bytes(kind="JPEG")[:300], "is damaged"),
        (b"\0" * (drawings_start.MOST_BYTES + 1), "more than 30 MB"),
        (picture_bytes(7100), "more than 50 million pixels"),
    ],
    ids=["nothing", "kind", "half", "bytes", "pixels"],
)
def test_an_upload_that_cannot_be_taken_says_why(store: Store, visitor: Visitor, content: bytes, told: str) -> None:
    with pytest.raises(MistakeError, match=told):
        drawings_start.take_in(store, content)
    sent = {"csrf_token": visitor.token(), "picture": (io.BytesIO(content[:100_000]), "a.png")}
    assert 'class="error"' in visitor.client.post("/start", data=sent).text


def test_a_start_or_mask_that_is_none_is_refused(store: Store, visitor: Visitor) -> None:
    start = drawings_start.take_in(store, picture_bytes())
    for form in ({"start": "a" * 64}, {"start": "../x"}, {"start": start, "mask": "data:image/png;base64,AAAA"}):
        assert visitor.post("/", model="starter", prompt="cat", **form).status_code == 422
    for address in ("/start/../../client.key.png", f"/start/{'a' * 64}.png", "/previews/none.png", "/compare/none"):
        assert visitor.client.get(address).status_code == 404


def test_a_file_fills_the_form_and_what_is_not_known_is_told(store: Store, visitor: Visitor, model: BaseModel) -> None:
    fur = add_adapter(store, model, "Fur")
    text = parameters_text(
        "a cat", negative="dog", steps=500, sampler="LMS", guidance=4.5, seed=11, size=64, model_name="gone",
        model_hash="abc", adapters=[("Fur", 0.5), ("Lost", 1.0)],
    )  # fmt: skip
    content = png_bytes(np.zeros((8, 8, 3), np.uint8), text)
    sent = {"csrf_token": visitor.token(), "settings": (io.BytesIO(content), "a.png")}
    form = visitor.client.post("/from-file", data=sent).text
    assert re.search(r'<textarea[^>]*name="prompt"[^>]*>\s*a cat<', form)
    for value in ('value="dog"', 'value="4.5"', 'value="11"', f'name="adapter" value="{fur}"'):
        assert value in form
    assert re.findall(r"<li>([^<]+)</li>", form) == [
        "Steps 500 was left out; it must lie between 1 and 200.",
        "Sampler “LMS” is not known here; UniPC is chosen.",
        "Model “gone” is not in the library; the starter is chosen.",
        "Adapter “Lost” is not in the library and was left out.",
    ]
    text = "cat\nNegative prompt: \nSteps: 9, Sampler: DPM++ 2M Karras, Size: {}, Clip skip: 2, Model: starter"
    for size, sides, notes in (
        ("32x48", ("32", "48"), []),
        ("4096x512", ("", ""), ["Size 4096x512 was left out; it must lie between 16 and 2048."]),
    ):
        content = png_bytes(np.zeros((8, 8, 3), np.uint8), text.format(size))
        sent = {"csrf_token": visitor.token(), "settings": (io.BytesIO(content), "a.png")}
        form = visitor.client.post("/from-file", data=sent).text
        assert (value_of(form, "width_pixels"), value_of(form, "height_pixels")) == sides
        assert re.findall(r"<li>([^<]+)</li>", form) == [*notes, "Not taken over: Karras, Clip skip."]
    sent = {"csrf_token": visitor.token(), "settings": (io.BytesIO(picture_bytes()), "a.png")}
    answer = visitor.client.post("/from-file", data=sent)
    assert "carries no settings" in answer.text
    assert answer.headers["HX-Retarget"] == "#told", "the form stays as it is"


def test_the_gallery_shows_those_of_one_model_or_adapter(
    store: Store, visitor: Visitor, model: BaseModel, asked
) -> None:
    fur, ink = add_adapter(store, model, "Fur"), add_adapter(store, model, "Ink 100%")
    [plain], [one] = asked(), asked(adapter=fur, weight="1", active=fur)
    [both] = asked(adapter=[fur, ink], weight=["1", "1"], active=[fur, ink])
    shown = {
        query: {each for each in (plain.id, one.id, both.id) if each in visitor.client.get(f"/gallery?{query}").text}
        for query in ("adapter=Fur", "adapter=Ink+100%25", "adapter=Fu", f"model={plain.model}", "model=x")
    }
    assert list(shown.values()) == [{one.id, both.id}, {both.id}, set(), {plain.id, one.id, both.id}, set()]


def test_a_stop_ends_a_drawing_within_its_only_step(
    store: Store, model: BaseModel, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing_watch, "EVERY_S", 0.0)  # a step of so small a picture is over within it
    job_id = drawings.ask(store, DrawRequest(model=str(tiny_model_folder), prompt="cat", pictures=1, steps=1))

    def stop(layer: torch.nn.Module, _inputs: object) -> None:
        if layer.__class__ is model.unet.__class__:
            jobs.want(store, job_id, jobs.STOP)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(stop)
    try:
        carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    finally:
        hook.remove()
    job = jobs.one(store, job_id)
    assert job is not None
    assert (job.status, job.done, drawings.of_job(store, job_id)) == (jobs.STOPPED, 0, [])
    jobs.resume(store, job_id)
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    assert len(drawings.of_job(store, job_id)) == 1


@pytest.mark.parametrize(("wanted", "told_as"), [(jobs.STOP, jobs.STOPPED), (jobs.PAUSE, jobs.PAUSED)])
def test_a_stop_that_no_layer_heeds_ends_the_worker_and_the_job_can_be_resumed(
    store: Store, tiny_model_folder: Path, wanted: str, told_as: str
) -> None:
    job_id = drawings.ask(store, DrawRequest(model=str(tiny_model_folder), prompt="cat", pictures=1, steps=1))

    def endless(_layer: torch.nn.Module, _inputs: object) -> None:
        jobs.want(open_store(store.folder), job_id, wanted)
        time.sleep(60)  # as one operation of a large picture

    def works() -> None:
        drawing_watch.EVERY_S, drawing_watch.PATIENCE_S = 0.01, 0.05
        torch.nn.modules.module.register_module_forward_pre_hook(endless)
        carry_out(open_store(store.folder), ClientSettings(folder=store.folder, threads=1), job_id)

    worker = multiprocessing.get_context("fork").Process(target=works)
    worker.start()
    worker.join(40)
    assert worker.exitcode == 1
    job = jobs.one(store, job_id)
    assert job is not None
    assert (job.status, job.wanted) == (told_as, None)
    jobs.resume(store, job_id)
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    assert len(drawings.of_job(store, job_id)) == 1


def test_a_preview_is_there_while_it_draws_and_costs_little(
    store: Store, model: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing_preview, "EVERY_S", 0.0)

    path = tmp_path / "previews" / "a.png"
    with drawing_preview.Preview(path, model) as preview, torch.inference_mode():
        latents = torch.zeros(1, 4, 8, 8)
        began = drawing_preview.time.monotonic()
        while not path.is_file():
            preview.look(latents)
            assert drawing_preview.time.monotonic() < began + 30
        with Image.open(path) as image:
            assert image.size == (16, 16)
        path.unlink()
        preview.look(latents)
        assert not path.is_file(), "the next one only when it takes at most its share of the time"
        path.touch()
    assert not path.is_file()


def test_a_preview_is_there_before_a_few_small_pictures_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing_preview, "EVERY_S", 0.0)  # a fast machine draws them within it
    starter = open_model("starter")
    path, seen = tmp_path / "previews" / "a.png", []
    with drawing_preview.Preview(path, starter) as preview:

        def look(latents: torch.Tensor) -> None:
            preview.look(latents)
            seen.append(path.is_file())

        preview.begin()
        generate(starter, ["cat"] * 4, [1, 2, 3, 4], steps=20, batch_size=4, look=look)
    assert len(seen) == 20
    assert seen[0] is False, "not before it is known to cost little"
    assert any(seen[:18]), "when a person can still see it"
