"""The fourteen functional scenarios of the reference system, each through the app's pages, in their order.

They go on from one another as a person would: the dataset of the second is trained on in the sixth.
"""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Literal

import pytest
from accessibility import faults
from app_process import SLOW_MS, worker_of
from playwright.sync_api import Page, expect
from stage import Stage

SHOTS = ".shots li"
CELLS = "#grid .cell"
STEPS = "6"
"""Of a picture; what it looks like is looked at elsewhere."""


def visit(stage: Stage, path: str) -> Page:
    stage.watched.page.goto(stage.address + path)
    return stage.watched.page


def submit(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def draw(stage: Stage, prompt: str, pictures: int = 1) -> Page:
    """Generate on the form as it stands, and wait for the pictures."""
    page = stage.watched.page
    before = page.locator(SHOTS).count()
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Pictures", exact=True).fill(str(pictures))
    steps = page.get_by_label("Steps", exact=True)
    if not steps.is_visible():
        page.locator("summary", has_text=re.compile("^More$")).click()
    steps.fill(STEPS)
    submit(page, "Generate")
    expect(page.locator(SHOTS)).to_have_count(before + pictures, timeout=SLOW_MS)
    return page


def train(stage: Stage, name: str, what: str, epochs: int) -> Page:
    """Start a training through the form; the page is then that of the training."""
    page = visit(stage, "/train/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("What is trained").select_option(label=what)
    page.get_by_label("Epochs").fill(str(epochs))
    page.get_by_label("Batch size").fill("2")
    expect(page.locator("#cost")).to_contain_text("about")
    submit(page, "Start training")
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    return page


def agree(stage: Stage, run: str, answer: str = "Agree to this run") -> Page:
    """Read the run's page and answer it."""
    page = visit(stage, "/federations")
    notice = page.locator("[id^=asks-]", has_text=run)
    expect(notice).to_be_visible(timeout=SLOW_MS)
    notice.get_by_role("link", name="Read what it would do").click()
    expect(page.get_by_role("heading", name="Never leaves")).to_be_visible()
    expect(page.get_by_role("heading", name="Leaves this machine")).to_be_visible()
    submit(page, answer)
    return page


def done(page: Page) -> None:
    expect(page.get_by_text("what came of it is in your library")).to_be_visible(timeout=SLOW_MS)


def test_01_start_without_data(stage: Stage) -> None:
    page = visit(stage, "/")
    expect(page.get_by_text("No pictures yet")).to_be_visible()
    for path, said in (("/datasets", "No datasets yet"), ("/train", "No pictures to learn from yet")):
        expect(visit(stage, path).get_by_role("heading", name=said)).to_be_visible()
    expect(visit(stage, "/federations").get_by_role("heading", name="No federation yet")).to_be_visible()


def test_02_add_and_check_a_dataset(stage: Stage) -> None:
    (stage.pictures / "client-1" / "broken.png").write_bytes(b"no picture")
    page = visit(stage, "/datasets")
    page.get_by_label("Folder", exact=True).fill(str(stage.pictures / "client-1"))
    submit(page, "Add folder")
    expect(page.locator(CELLS)).to_have_count(5, timeout=SLOW_MS)
    page.get_by_role("link", name="See which and why").click()
    broken = page.locator(".problems li a")
    expect(broken).to_have_text("broken.png")
    thumbnail = f"{broken.get_attribute('href')}/small"
    (stage.pictures / "client-1" / "broken.png").unlink()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(CELLS)).to_have_count(4, timeout=SLOW_MS)
    page.get_by_role("link", name="Check", exact=True).click()
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("button", name="Check again")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="Aspect-ratio buckets")).to_be_visible()
    # The grid may have asked for it when it had just gone.
    stage.watched.complaints = [each for each in stage.watched.complaints if thumbnail not in each]


def test_03_edit_captions(stage: Stage) -> None:
    page = visit(stage, "/datasets")
    page.get_by_role("link", name="client-1").click()
    expect(page.locator(CELLS)).to_have_count(4)

    def captions() -> list[str]:
        return [path.read_text() for path in (stage.pictures / "client-1").glob("*.txt")]

    page.locator(CELLS).first.click()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Caption").fill("fluent_style, cat, violet <b>scarf</b>")
    page.keyboard.press("Enter")
    expect(page.locator(CELLS).first).to_contain_text("violet <b>scarf</b>")
    assert sum("violet <b>scarf</b>" in text for text in captions()) == 1
    page.keyboard.press("Control+a")
    page.get_by_label("Tag", exact=True).first.fill("of_the_studio")
    submit(page, "Apply")
    expect(page.locator("#told")).to_have_text("4 captions written.")
    assert sum("of_the_studio" in text for text in captions()) == 4
    page.get_by_role("button", name="Undo: add tag 'of_the_studio' to 4 pictures").click()
    expect(page.locator("#told")).to_have_text("Undone.")
    assert sum("of_the_studio" in text for text in captions()) == 0


def test_a_double_is_left_out_and_brought_back(stage: Stage) -> None:
    folder = stage.pictures / "client-1"
    first = sorted(folder.glob("*.png"))[0]
    double = folder / "zz-double.png"
    for suffix in (".png", ".txt"):
        double.with_suffix(suffix).write_bytes(first.with_suffix(suffix).read_bytes())
    page = visit(stage, "/datasets")
    page.get_by_role("link", name="client-1").click()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(CELLS)).to_have_count(5, timeout=SLOW_MS)
    page.get_by_role("link", name="Check", exact=True).click()
    page.get_by_role("button", name=re.compile("Check (now|again)")).click()
    page.get_by_role("link", name=re.compile(r"The same picture\s*1")).click(timeout=SLOW_MS)
    with page.expect_navigation():
        submit(page, "Leave out all but the first of each")
    visit(stage, "/datasets").get_by_role("link", name="client-1").click()
    expect(page.locator(CELLS)).to_have_count(4)
    assert not double.exists()
    assert (folder / ".left-out" / double.name).exists()
    page.get_by_role("button", name=re.compile("Undo: leave out")).click()
    expect(page.locator(CELLS)).to_have_count(5)
    assert double.exists()
    for suffix in (".png", ".txt"):
        double.with_suffix(suffix).unlink()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(CELLS)).to_have_count(4, timeout=SLOW_MS)


def test_04_generate_from_a_base_model(stage: Stage) -> None:
    visit(stage, "/")
    page = draw(stage, "fluent_style, cat, animal", pictures=2)
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("fluent_style, cat, animal").first).to_be_visible()


def test_06_train_a_lora(stage: Stage) -> None:
    page = train(stage, "Violet", "An adapter (LoRA)", epochs=2)
    expect(page.get_by_text("Violet is in the library.")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".curve svg")).to_be_visible()


def test_05_generate_with_one_adapter_and_with_several(stage: Stage) -> None:
    """After the sixth, which makes the adapter."""
    page = visit(stage, "/models")
    page.get_by_role("link", name="Violet").click()
    page.get_by_role("link", name="Generate with it").click()
    expect(page.get_by_label("Weight of Violet", exact=True)).to_have_value("1")
    page.get_by_label("Weight of Violet", exact=True).fill("0.6")
    draw(stage, "fluent_style, fox")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("<lora:Violet:0.6>")).to_be_visible()
    train(stage, "Second", "An adapter (LoRA)", epochs=1)
    expect(page.get_by_text("Second is in the library.")).to_be_visible(timeout=SLOW_MS)
    visit(stage, "/")
    expect(page.get_by_label("Weight of Violet", exact=True)).to_have_value("0.6")
    page.get_by_label("Add an adapter").select_option(label="Second")
    submit(page, "Add")
    expect(page.get_by_label("Weight of Second", exact=True)).to_be_visible()
    draw(stage, "fluent_style, owl")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("<lora:Violet:0.6> <lora:Second:1>")).to_be_visible()


def test_07_resume_a_stopped_training(stage: Stage) -> None:
    page = train(stage, "Resumed", "An adapter (LoRA)", epochs=20)
    expect(page.locator(".curve svg")).to_be_visible(timeout=SLOW_MS)
    submit(page, "Stop")
    expect(page.locator(".badge-line")).to_contain_text("Stopped", timeout=SLOW_MS)
    submit(page, "Resume")
    expect(page.locator(".badge-line")).to_contain_text("Running", timeout=SLOW_MS)
    os.kill(worker_of(stage.process.pid), signal.SIGKILL)
    expect(page.locator(".badge-line")).to_contain_text("Died", timeout=SLOW_MS)
    submit(page, "Resume")
    expect(page.get_by_text("Resumed is in the library.")).to_be_visible(timeout=SLOW_MS)


def test_08_fine_tune_a_whole_model(stage: Stage) -> None:
    page = train(stage, "Whole", "The whole model", epochs=1)
    expect(page.get_by_text("Whole is in the library.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("link", name="See the model").click()
    page.get_by_role("link", name="Generate with it").click()
    draw(stage, "fluent_style, dog")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text(re.compile("Model: Whole"))).to_be_visible()


def test_adapters_are_joined_and_one_comes_back_from_its_file(stage: Stage) -> None:
    page = visit(stage, "/models/merge")
    for name, weight in (("Violet", "0.5"), ("Second", "0.25")):
        page.get_by_label(re.compile(f"^{name} ")).check()
        page.get_by_label(f"Weight of {name}", exact=True).fill(weight)
    page.get_by_label("Name", exact=True).fill("Both")
    submit(page, "Join adapters")
    page.get_by_role("link", name="Both", exact=True).click(timeout=SLOW_MS)
    expect(page.locator(".lineage")).to_contain_text("adapter, weight 0.25")
    with page.expect_download() as download:
        page.get_by_role("link", name="For ComfyUI and A1111 (kohya)").click()
    file = stage.pictures / "both.safetensors"
    download.value.save_as(file)
    visit(stage, "/models/import")
    page.get_by_label("Or where it is", exact=True).fill(str(file))
    page.get_by_label("Name", exact=True).fill("Back")
    submit(page, "Import")
    page.get_by_role("link", name="Back", exact=True).click(timeout=SLOW_MS)
    page.get_by_role("link", name="Generate with it").click()
    draw(stage, "fluent_style, bear")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("<lora:Back:1>")).to_be_visible()


def test_10_join_a_federation_and_consent(stage: Stage) -> None:
    network = stage.network
    network.start_server()
    for member in ("client-2", "client-3"):
        network.join(member, stage.pictures / member, once=False)
    page = visit(stage, "/federations/join")
    page.get_by_label("Server").fill(network.url)
    page.get_by_label("Code").fill(network.asked("server", "code", "client-1").split()[-1])
    submit(page, "Join")
    expect(page.get_by_text("Taking part")).to_be_visible(timeout=SLOW_MS)
    network.wait_members("client-1", "client-2", "client-3")
    page.locator(".job a").first.click()
    page.get_by_role("link", name="Every line").click()
    expect(page.locator("#log .facts")).to_contain_text("Proofs of who this machine is")  # joining stands in it, too
    stage.start_run("declined", "fedit", rounds=1)
    agree(stage, "declined", "Decline")
    expect(page.get_by_text("You take no part in it.")).to_be_visible(timeout=SLOW_MS)


def test_12_complete_rounds_with_fedex_lora(stage: Stage) -> None:
    run_id = stage.start_run("autumn", "fedex-lora")
    page = agree(stage, "autumn", "Agree to the next round")
    again = page.get_by_text("Round 2 waits for your answer")
    expect(again).to_be_visible(timeout=SLOW_MS)
    submit(page, "Agree to this round")
    done(page)
    stage.network.wait_done(run_id, 60)
    drawn = page.locator("#elsewhere .shots img")
    expect(drawn).to_have_count(3, timeout=SLOW_MS)  # the base model's, and each round's
    for picture in drawn.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("naturalWidth", 64)  # the starter's own size
    page.get_by_role("link", name="See it").click()
    page.get_by_role("link", name="Generate with it").click()
    expect(page.get_by_label("Weight of autumn", exact=True)).to_have_value("1")
    draw(stage, "fluent_style, leaf")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text("<lora:autumn:1>")).to_be_visible()


def test_a_consent_is_withdrawn_in_a_training(stage: Stage) -> None:
    run_id = stage.start_run("summer", "fedex-lora", epochs=60)
    page = agree(stage, "summer")
    expect(page.locator(".job-line")).to_be_visible(timeout=SLOW_MS)
    submit(page, "Withdraw")
    page.get_by_role("dialog").get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.get_by_text("You take part in this run no more.").first).to_be_visible()
    expect(page.locator(".job-line")).to_have_count(0, timeout=SLOW_MS)
    stage.network.asked("run", "stop", run_id)
    taken = stage.network.events(run_id, "update accepted")
    assert "client-1" not in [facts["member"] for facts in taken]


def test_a_consent_is_withdrawn_while_the_federation_is_paused(stage: Stage) -> None:
    run_id = stage.start_run("thaw", "fedex-lora", epochs=60)
    page = agree(stage, "thaw")
    expect(page.get_by_role("button", name="Withdraw").first).to_be_visible()
    run_page = page.url
    visit(stage, "/federations").locator(".job a").first.click()
    submit(page, "Pause taking part")
    expect(page.get_by_role("button", name="Take part again").first).to_be_visible()
    page.goto(run_page)
    submit(page, "Withdraw")
    page.get_by_role("dialog").get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.get_by_text("You take part in this run no more.").first).to_be_visible()
    deadline = time.monotonic() + SLOW_MS / 1000
    while not stage.network.events(run_id, "consent declined") and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert stage.network.events(run_id, "consent declined"), "others wait for it no longer"
    stage.network.asked("run", "stop", run_id)
    visit(stage, "/federations").locator(".job a").first.click()
    submit(page, "Take part again")
    expect(page.get_by_role("button", name="Pause taking part").first).to_be_visible()


def test_11_complete_rounds_with_fedavg(stage: Stage) -> None:
    stage.start_run("winter", "fedavg")
    page = agree(stage, "winter", "Always agree within my limits")
    done(page)
    page.get_by_role("link", name="See it").click()
    page.get_by_role("link", name="Generate with it").click()
    draw(stage, "fluent_style, snow")
    page.locator(f"{SHOTS} a").first.click()
    expect(page.get_by_text(re.compile("Model: winter"))).to_be_visible()


def test_09_list_and_download_the_servers_models_and_adapters(stage: Stage) -> None:
    """After the rounds, which made them."""
    page = visit(stage, "/federations")
    page.locator(".job a").first.click()
    for name, kind in (("autumn", "adapter"), ("winter", "model")):
        page.get_by_role("link", name="Models of the server").click()
        page.get_by_role("button", name=f"Take {name} into the library").first.click()
        expect(page.get_by_role("link", name=f"{name} 2", exact=True)).to_be_visible(timeout=SLOW_MS)
        page.get_by_role("link", name=f"{name} 2", exact=True).click()
        expect(page.get_by_text("from its server")).to_be_visible()
        page.get_by_role("link", name="Generate with it").click()
        draw(stage, f"fluent_style, {kind}")
        visit(stage, "/federations").locator(".job a").first.click()
    page.get_by_role("link", name="Models of the server").click()
    expect(page.get_by_role("link", name="in your library").first).to_be_visible()
    page.get_by_label("Version of autumn").select_option("after round 1")
    page.get_by_role("button", name="Take autumn into the library").first.click()
    expect(page.get_by_role("link", name="autumn, round 1", exact=True)).to_be_visible(timeout=SLOW_MS)


def test_13_lose_and_regain_the_connection_mid_round(stage: Stage) -> None:
    network = stage.network
    run_id = stage.start_run("spring", "fedex-lora", epochs=16)
    page = visit(stage, "/federations")
    page.locator(".job a").first.click()
    expect(page.locator(".job-line")).to_be_visible(timeout=SLOW_MS)
    network.kill_server()
    page.get_by_role("link", name="spring").click()
    expect(page.locator("#elsewhere")).to_contain_text("does not answer", timeout=SLOW_MS)
    network.start_server()
    network.wait_done(run_id, 120)
    done(page)


def test_14_refuse_a_plan_against_local_policy(stage: Stage) -> None:
    page = visit(stage, "/federations")
    page.locator(".job a").first.click()
    page.get_by_role("link", name="Change limits").click()
    page.get_by_label("Max rounds").fill("1")
    submit(page, "Set limits")
    expect(page.get_by_text("Your limits hold from now on.")).to_be_visible()
    stage.start_run("endless", "fedex-lora", rounds=9)
    link = page.get_by_role("link", name="endless")
    expect(link).to_be_visible(timeout=SLOW_MS)
    link.click()
    expect(page.get_by_text("the run has 9 rounds, and you allow 1")).to_be_visible()
    expect(page.get_by_text("Declined by your limits")).to_be_visible()


def test_a_machine_is_let_in_by_an_account_and_leaves_again(stage: Stage) -> None:
    """No code is handed on: its owner signs in at the server, in another tab of the same browser."""
    network = stage.network
    other = network.post("/federations", {"name": "Prints"})["id"]
    asked = {"role": "participant", "member": "print room"}
    invitation = network.post(f"/federations/{other}/invitations", asked)["code"]
    page = visit(stage, "/federations/join")
    page.get_by_role("link", name="Sign in at the server").click()
    page.get_by_label("Server").fill(network.url)
    page.get_by_label("This machine's name").fill("loom")
    submit(page, "Continue")
    expect(page.get_by_text("Waiting until you have let this machine in.")).to_be_visible()
    code = page.locator(".shown-code").inner_text()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the server's page").click()
    server = opened.value
    wanted = server.url
    server.goto(f"{network.url}/invitation/{invitation}")
    server.get_by_label("Name").fill("Ann")
    server.get_by_label("E-mail").fill("ann@example.org")
    server.get_by_label("Password", exact=True).fill("violet tram eats seven maps")
    submit(server, "Make account")
    server.wait_for_url(lambda address: "/invitation/" not in address)
    server.goto(f"{network.url}/device?code={code}")
    expect(server.get_by_text("loom", exact=True)).to_be_visible()
    expect(server.get_by_text(code, exact=True)).to_be_visible()
    submit(server, "Let it in")
    expect(server.get_by_text("“loom” is let in")).to_be_visible()
    server.close()
    assert code in wanted
    expect(page.get_by_text("this machine joins “Prints” as “print room”")).to_be_visible(timeout=SLOW_MS)
    submit(page, "Join")
    page.get_by_role("link", name="Prints").click(timeout=SLOW_MS)
    expect(page.get_by_text("Taking part").first).to_be_visible(timeout=SLOW_MS)
    submit(page, "Leave this federation")
    page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(page.get_by_text("This machine takes part there no more.")).to_be_visible()
    expect(page.get_by_role("link", name="Prints")).to_have_count(0)


EVERY_PAGE = (
    "/", "/gallery", "/datasets", "/train", "/train/new", "/models", "/models/import", "/models/merge", "/federations",
    "/federations/join", "/federations/sign-in", "/activity",
)  # fmt: skip


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (380, "dark")])
def test_every_page_is_for_everyone(stage: Stage, width: int, theme: Literal["light", "dark"]) -> None:
    """axe-core finds nothing, with everything in the pages that the other scenarios have made."""
    page = stage.watched.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    paths = list(EVERY_PAGE)
    for listing, link in (
        ("/datasets", "main table a"),
        ("/datasets", "main table a, .grid li a"),
        ("/gallery", f"{SHOTS} a"),
        ("/train", "main .job p a"),
        ("/models", "main table a"),
        ("/federations", "main .job a"),
    ):
        visit(stage, listing)
        paths.append(page.locator(link).first.get_attribute("href") or "")
    federation = paths[-1]
    visit(stage, federation)
    paths.append(page.locator("main table a").first.get_attribute("href") or "")
    paths += ["/federations/sent", f"{federation}/limits", f"{federation}/models"]
    found = {}
    for path in dict.fromkeys(paths):
        visit(stage, path)
        if wrong := faults(page):
            found[path] = wrong
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than {width} px"
    page.set_viewport_size({"width": 1280, "height": 900})
    assert found == {}


def test_nothing_complained(stage: Stage) -> None:
    """No script failed, and the pages' policy stopped nothing."""
    said = [each for each in stage.watched.complaints if "[object Event]" not in each]
    assert said == []
