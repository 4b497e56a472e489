"""Models and adapters brought into the participant's app by a real browser, and by connections that are cut."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
import warm
from browser import Watched
from playwright.sync_api import Browser, expect
from tests.integration.test_client_app import SLOW_MS, app

from fedflow.models import adapter_bytes, new_adapter, open_model

DROP = """async ([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
REFUSED = "the server responded with a status of 422"
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The app's address and folder."""
    folder = tmp_path_factory.mktemp("imports") / "app"
    with app(folder, warm.start) as (address, _):
        yield address, folder


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the starter in kohya's layout."""
    adapter = new_adapter(open_model("starter"), 2, 2.0, False, torch.Generator().manual_seed(1))
    file = tmp_path_factory.mktemp("lora") / "foxes.safetensors"
    file.write_bytes(adapter_bytes(adapter, "kohya", {}))
    return file


def test_a_file_is_chosen_or_dropped_and_taken_in(here: tuple[str, Path], browser: Browser, lora: Path) -> None:
    address, folder = here
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        watched = Watched(context)
        page = watched.page
        page.goto(f"{address}/models/import")
        page.evaluate(DROP, ["sd.ckpt", "eA=="])
        assert page.locator("#f-files").evaluate("field => field.files[0].name") == "sd.ckpt"
        page.get_by_role("button", name="Import").click()
        expect(page.get_by_role("alert")).to_contain_text("“sd.ckpt” is a pickle, which can run code")
        page.set_input_files("#f-files", str(lora))
        page.get_by_label("Name").fill("Red foxes")
        page.get_by_role("button", name="Import").click()
        page.wait_for_url(re.compile("/models$"))
        expect(page.get_by_role("link", name="Red foxes")).to_be_visible(timeout=SLOW_MS)
        assert list((folder / "incoming").iterdir()) == []
        watched.complaints = [each for each in watched.complaints if REFUSED not in each]
        watched.check_quiet()


def test_without_scripts_it_is_a_plain_form(here: tuple[str, Path], browser: Browser, lora: Path) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{here[0]}/models/import")
        page.set_input_files("#f-files", str(lora))
        page.get_by_label("Name").fill("Plain foxes")
        page.get_by_role("button", name="Import").click()
        page.wait_for_url(re.compile("/models$"))
        ends = time.monotonic() + PATIENCE_S
        while page.get_by_role("link", name="Plain foxes").count() == 0:
            assert time.monotonic() < ends
            page.reload()


def test_an_upload_that_is_cut_off_leaves_nothing(here: tuple[str, Path], browser: Browser) -> None:
    address, folder = here
    split = urlsplit(address)
    assert split.hostname is not None
    assert split.port is not None
    before = sorted(path.name for path in folder.iterdir())
    for _ in range(3):
        with socket.create_connection((split.hostname, split.port)) as connection:
            head = (
                f"POST /models/import HTTP/1.1\r\nHost: {split.netloc}\r\nContent-Length: 3000000000\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; "
                'name="files"; filename="big.safetensors"\r\n\r\n'
            )
            connection.sendall(head.encode() + bytes(20_000_000))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/activity")
        expect(page.get_by_text("big")).to_have_count(0)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in (folder / "incoming").glob("*")] == []
