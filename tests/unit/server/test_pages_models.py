"""Pages of models, adapters, versions and releases: who sees them, what they say, and what they refuse."""

from __future__ import annotations

import io
import random
import re

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import select
from statements import counted
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import PASSWORD, Reader, faults, told, value_of
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Release, Run, Version
from fedflow.server.pages.lineage import Step, drawing, folded
from fedflow.server.pages.markdown import markdown
from fedflow.server.services import catalogue, downloads, federations
from fedflow.server.services.identity import SERVER

CARD = """# What it is

A *style* of [a studio](https://example.org/x). <script>alert(1)</script>

[no](javascript:alert(1)) ![picture](https://evil.example/pixel.png)
"""


@pytest.fixture
def site(app: Flask, setting: Setting) -> Site:
    """A run that is done, its second version exported; people of all roles."""
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed))
        setting.aggregate()
    setting.aggregate()  # its export
    made = Site.of(app, setting.store)
    made.account("ada")
    for name, role in (("vera", "viewer"), ("paul", "participant"), ("cora", "coordinator")):
        made.account(name, role)  # type: ignore[arg-type]
    return made


def last_version(site: Site) -> Version:
    with site.store.read() as session:
        return session.scalars(select(Version).order_by(Version.id.desc())).first()  # type: ignore[return-value]


def test_the_list_filters_and_says_what_is_not_there(site: Site) -> None:
    reader = site.reader("vera")
    page = reader.get("/models").text
    assert page.count("/models/") >= 2
    assert "adapter" in page
    assert "Nothing found" in reader.get("/models?name=%25").text  # a percent sign is a letter, and no pattern
    with site.store.read() as session:
        name = session.scalars(select(Artifact.name).where(Artifact.kind == "adapter")).one()
    found = reader.get(f"/models?name={name.upper()}&kind=adapter").text
    assert found.count("<tr role") == 2  # the head and one


def test_a_version_says_where_it_comes_from(site: Site) -> None:
    version = last_version(site)
    page = site.reader("paul").get(f"/versions/{version.id}").text
    boxes = re.findall(r'<rect class="(\w+)"', page)
    assert boxes == ["before", "before", "here"]  # the base model, round 1, round 2
    assert page.count("picture</span>") + page.count("pictures</span>") == len(MEMBERS)
    assert "style=" not in page
    assert "Prepare download" in page
    assert "Adapter for ComfyUI" in page
    assert "FedEx-LoRA: adapters, joined exactly" in page
    assert "each member by its number of pictures" in page
    model = site.reader("paul").get(f"/models/{version.artifact_id}").text
    assert "Round 2 · FedEx-LoRA: adapters, joined exactly" in model
    assert "Adapter for diffusers" in model
    viewed = site.reader("vera").get(f"/versions/{version.id}").text  # who may not ask is shown no button for it
    assert "Prepare download" not in viewed
    assert "Participants of its federation" in viewed


def test_a_long_line_is_read_and_drawn_at_its_ends_alone(site: Site) -> None:
    reader, last = site.reader("vera"), last_version(site)
    with site.store.begin() as session:
        parent = last.id
        for number in range(3, 41):
            made = Version(
                id=f"0198{number:04}-0000-7000-8000-000000000000", artifact_id=last.artifact_id, number=number
            )
            made.content, made.facts, made.files, made.created_at = last.content, {}, {}, 1.0
            made.parent_id, parent = parent, made.id
            session.add(made)
            session.flush()
        for number in range(13):  # others that went on from the end
            made = Version(
                id=f"0199{number:04}-0000-7000-8000-000000000000", artifact_id=last.artifact_id, number=number + 50
            )
            made.content, made.facts, made.files, made.created_at, made.parent_id = last.content, {}, {}, 1.0, parent
            session.add(made)
    page = reader.get(f"/versions/{parent}").text
    boxes = re.findall(r'<rect class="(\w+)"', page)
    assert boxes == ["before"] * 5 + ["here"] + ["after"] * 12
    assert "35 versions between" in page  # 40 are before it: the base model and the last four are drawn
    assert "and others" in page
    assert page.index("Base model") < page.index("35 versions between")
    near = "01980010-0000-7000-8000-000000000000"
    assert statements(site, reader, f"/versions/{parent}") == statements(site, reader, f"/versions/{near}")


def test_a_long_line_is_folded() -> None:
    before = [Step(f"v{number}", "", "/", "before") for number in range(20)]
    short = folded(before, "15 between")
    assert [step.title for step in short] == ["v0", "15 between", "v16", "v17", "v18", "v19"]
    drawn = drawing([*short, Step("x" * 80, "", None, "here"), Step("child", "", "/", "after")])
    assert len(drawn.boxes[6].title) == 34
    assert drawn.boxes[7].x > drawn.boxes[6].x
    assert all(box.x + box.width <= drawn.width for box in drawn.boxes)
    assert [box.path == "" for box in drawn.boxes] == [True] + [False] * 7


def test_the_card_can_do_nothing(site: Site) -> None:
    drawn = markdown(CARD)
    assert "<h3>What it is</h3>" in drawn
    assert '<a href="https://example.org/x" rel="nofollow noopener noreferrer ugc">' in drawn
    assert "<script" not in drawn
    assert "javascript:alert(1)" in drawn
    assert 'href="javascript' not in drawn
    assert "<img" not in drawn
    reader = site.reader("cora")
    artifact = last_version(site).artifact_id
    sent = {"visibility": "public", "licence": "CC-BY-4.0", "trigger_words": "soft light,  film", "card": CARD}
    answer = reader.post(f"/models/{artifact}/description", sent)
    assert answer.status_code == 303
    page = reader.get(f"/models/{artifact}").text
    assert str(drawn).strip() in page
    assert "soft light, film" in page
    assert "CC-BY-4.0" in page
    told = reader.post(f"/models/{artifact}/description", {**sent, "licence": "x" * 81, "visibility": "all"})
    assert told.status_code == 422
    assert "Choose one from the list." in told.text
    long = reader.post(f"/models/{artifact}/description", {**sent, "card": "ї" * 50_000})  # six bytes each
    assert long.status_code == 303
    assert "ї" * 50_000 in reader.get(f"/models/{artifact}").text
    preview = reader.post(f"/models/{artifact}/description/preview", {"card": "*so*"})
    assert preview.text.strip() == "<p><em>so</em></p>"


def test_two_who_describe_it_at_once_undo_nothing_of_each_other_unknowingly(site: Site) -> None:
    reader = site.reader("cora")
    address = f"/models/{last_version(site).artifact_id}/description"
    before = {name: value_of(reader.get(address), name) for name in ("made_from", "licence", "trigger_words")}
    before |= {"visibility": "federation", "card": ""}
    assert reader.post(address, {**before, "licence": "Apache-2.0", "card": "first\r\ncard"}).status_code == 303
    assert reader.post(address, {**before, "trigger_words": "foxy", "visibility": "public"}).status_code == 303
    artifact = catalogue.one(site.store, SERVER, last_version(site).artifact_id)
    assert (artifact.licence, artifact.card, artifact.trigger_words) == ("Apache-2.0", "first\ncard", ["foxy"])
    refused = reader.post(address, {**before, "licence": "MIT", "card": "other", "trigger_words": "foxy"})
    assert refused.status_code == 409
    changed = "This was changed while you had the page open, and is now “{}”. Save again to set yours."
    assert faults(refused) == {"licence": changed.format("Apache-2.0"), "card": changed.format("first card")}
    assert value_of(refused, "licence") == "MIT"
    assert ">\nother</textarea>" in refused.text
    assert '<option value="public" selected>' in refused.text
    again = {**before, "visibility": "public", "licence": "MIT", "card": "other", "trigger_words": "foxy"}
    assert reader.post(address, {**again, "made_from": value_of(refused, "made_from")}).status_code == 303
    assert catalogue.one(site.store, SERVER, artifact.id).licence == "MIT"
    opened = {**again, "made_from": value_of(reader.get(address), "made_from")}
    assert reader.post(address, {**opened, "licence": ""}).status_code == 303
    emptied = reader.post(address, {**opened, "licence": "BSD-3-Clause"})
    assert faults(emptied)["licence"].endswith("and is now empty. Save again to set yours.")
    with site.store.begin() as session:
        session.get_one(Artifact, artifact.id).card = "by\r\nthe API"  # whose line breaks no browser keeps
    form = {**again, "made_from": value_of(reader.get(address), "made_from"), "card": "by\r\nthe API"}
    with site.store.begin() as session:
        session.get_one(Artifact, artifact.id).licence = "CC0-1.0"
    refused = reader.post(address, {**form, "licence": "MIT"})
    assert set(faults(refused)) == {"licence"}, "and no fault of the card, which nobody changed"


def test_a_release_asks_for_a_licence_and_tells_of_files_that_are_being_written(site: Site) -> None:
    version, reader = last_version(site), site.reader("cora")
    path = f"/versions/{version.id}/release"
    assert "No licence is stated" in told(reader.get(path))
    downloads.ask(site.store, SERVER, version.id, "checkpoint")
    page = told(reader.get(path))
    assert "1 more file is being written." in page
    with site.store.begin() as session:
        session.get_one(Artifact, version.artifact_id).licence = "CC0-1.0"
    assert "No licence is stated" not in told(reader.get(path))


def test_names_and_trigger_words_are_words(site: Site) -> None:
    version, text = last_version(site), "</title></text><script>alert(1)</script>"
    with site.store.begin() as session:
        artifact = session.get_one(Artifact, version.artifact_id)
        artifact.name, artifact.trigger_words, artifact.licence = text, [text], text
    reader = site.reader("cora")
    released = reader.post(f"/versions/{version.id}/release", {"tag": "v1", "notes": text}).headers["Location"]
    for address in (
        "/models",
        "/releases",
        released,
        f"/models/{version.artifact_id}",
        f"/models/{version.artifact_id}/description",
        f"/versions/{version.id}",
        f"/versions/{version.id}/release",
    ):
        page = reader.get(address).text
        assert "<script>alert" not in page, address
        assert "&lt;script&gt;alert" in page, address


def test_examples_are_shown_to_who_sees_the_model(site: Site) -> None:
    artifact = last_version(site).artifact_id
    noise = Image.frombytes("RGB", (256, 256), random.Random(0).randbytes(256 * 256 * 3))
    sent = io.BytesIO()
    noise.save(sent, "PNG")
    assert len(sent.getvalue()) > 100_000  # more than other forms have
    put_up = f"/models/{artifact}/examples"

    def picture(content: bytes) -> dict[str, object]:
        return {"picture": (io.BytesIO(content), "example.png")}

    reader, viewer = site.reader("cora"), site.reader("vera")
    assert viewer.post(put_up, picture(sent.getvalue())).status_code == 403
    assert site.reader().post(put_up, picture(sent.getvalue())).status_code == 413  # none of a stranger's is read
    assert "The picture is not a PNG" in reader.get(reader.post(put_up, picture(b"GIF89a")).headers["Location"]).text
    assert "Choose a picture first" in reader.get(reader.post(put_up).headers["Location"]).text
    assert reader.post(put_up, picture(sent.getvalue())).status_code == 303
    page = viewer.get(f"/models/{artifact}").text
    assert "Remove" not in page
    address = re.search(rf'src="({put_up}/\w+)"', page)
    assert address is not None
    with viewer.get(address[1]) as got:
        assert got.mimetype == "image/png"
        assert Image.open(io.BytesIO(got.data)).tobytes() == noise.tobytes()
    other = Site(site.app, site.store, federations.create(site.store, "other"))
    other.account("stan", "administrator")
    assert other.reader("stan").get(address[1]).status_code == 404
    assert viewer.post(f"{address[1]}/take-down").status_code == 403
    reader.post(f"{address[1]}/take-down")
    assert viewer.get(address[1]).status_code == 404
    assert address[1] not in viewer.get(f"/models/{artifact}").text


def test_a_release_is_by_a_former_member_once_their_account_is_closed(site: Site) -> None:
    reader, version = site.reader("cora"), last_version(site)
    address = reader.post(f"/versions/{version.id}/release", {"tag": "v1", "notes": ""}).headers["Location"]
    viewer, pages = site.reader("vera"), (address, "/releases")
    assert all("cora" in viewer.get(page).text for page in pages)
    warned = reader.get("/account/data").text
    assert "The audit log keeps your entries: your name as it was then" in warned
    assert reader.post("/account/delete", {"password": PASSWORD}).status_code == 303
    for page in pages:
        said = viewer.get(page).text
        assert "a former member" in said
        assert "cora" not in said


def test_the_owner_is_named_in_the_federation_alone(site: Site) -> None:
    artifact = last_version(site).artifact_id
    with site.store.begin() as session:
        row = session.get_one(Artifact, artifact)
        row.owner_id, row.visibility = session.scalars(select(Person.id).where(Person.name == "cora")).one(), "public"
    other = Site(site.app, site.store, federations.create(site.store, "other"))
    other.account("stan", "viewer")
    assert "<dd>cora</dd>" in site.reader("vera").get(f"/models/{artifact}").text
    assert "cora" not in other.reader("stan").get(f"/models/{artifact}").text
    reader = other.reader("stan")
    assert artifact in reader.get("/models?seen=public").text
    assert artifact not in reader.get("/models?seen=federation").text


def test_a_release_from_the_form_to_the_withdrawal(site: Site) -> None:
    reader, version = site.reader("cora"), last_version(site)
    refused = reader.post(f"/versions/{version.id}/release", {"tag": "no tag", "notes": ""})
    assert refused.status_code == 422
    assert 'id="f-tag-error"' in refused.text
    form = {"tag": "v1.0", "notes": "**first**"}
    away = reader.post(f"/versions/{version.id}/release", {**form, "tag": "v0", "identifier": "../" * 12})
    assert "v0" in reader.get(away.headers["Location"]).text
    assert "v0" in reader.get("/releases").text
    answer = reader.post(f"/versions/{version.id}/release", {**form, "identifier": "z" * 36})
    assert answer.status_code == 303, answer.text
    address = answer.headers["Location"]
    page = reader.get(address).text
    with site.store.read() as session:
        release = session.scalars(select(Release).where(Release.tag == "v1.0")).one()
    for file in release.files.values():
        assert file["sha256"] in page
        assert file["name"] in page
    assert "<strong>first</strong>" in page
    assert "fedflow verify" in page
    viewer = site.reader("vera")
    told = "Participants of its federation can download files."
    for shown, layout in ((address, "kohya"), (f"/versions/{version.id}", "kohya")):
        assert told in viewer.get(shown).text
        assert told not in reader.get(shown).text
        assert f'href="{shown}/files/{layout}"' not in viewer.get(shown).text
        assert f'href="{shown}/files/{layout}"' in reader.get(shown).text
    for layout, file in release.files.items():
        assert viewer.get(f"{address}/files/{layout}").status_code == 403
        with reader.get(f"{address}/files/{layout}") as got:
            assert got.headers["ETag"] == f'"{file["sha256"]}"'
            assert len(got.data) == file["size_bytes"]
    with viewer.get(f"{address}/provenance") as got:
        assert b"payload" in got.data
    assert "v1.0" in viewer.get("/releases").text
    assert f'href="{address}"' in viewer.get(f"/versions/{version.id}").text
    kept = reader.post(f"/versions/{version.id}/delete", {})
    assert "It is released as “v" in reader.get(kept.headers["Location"]).text
    assert viewer.post(f"{address}/withdraw", {}).status_code == 403
    refused = reader.post(f"{address}/withdraw", {"reason": " "})
    assert refused.status_code == 422
    assert faults(refused)["reason"].startswith("Give a reason")
    assert 'href="#f-reason"' in refused.text
    assert "Do not use this release any more" not in viewer.get(address).text
    reader.post(f"{address}/withdraw", {"reason": "Draws one <of> our pictures."})
    page = viewer.get(address).text
    assert "Do not use this release any more" in page
    assert "Reason: Draws one &lt;of&gt; our pictures." in page
    reader.get(address)
    reader.post(f"{address}/withdraw", {"reason": "Another."})
    page = reader.get(address).text
    assert "was withdrawn already. The reason given then stands: Draws one &lt;of&gt; our pictures." in page
    assert "The release is withdrawn." not in page


def test_who_deletes_a_version_comes_to_the_others_and_with_the_last_to_the_list(site: Site) -> None:
    reader, version = site.reader("cora"), last_version(site)
    with site.store.begin() as session:
        runs = session.scalars(select(Run))
        for run in runs:
            run.status = "done"
        artifact_id, numbers = version.artifact_id, range(version.number, 0, -1)
        name = session.get_one(Artifact, artifact_id).name
    for number in numbers:
        answer = reader.post(f"/versions/{last_version(site).id}/delete", {})
        assert answer.headers["Location"] == (f"/models/{artifact_id}" if number > 1 else "/models")
        page = told(reader.get(answer.headers["Location"]))
        assert f"Version {number} of “{name}” is deleted." in page


def test_a_version_without_files_cannot_be_released_from_its_form(site: Site) -> None:
    with site.store.read() as session:
        first = session.scalars(select(Version).where(Version.round == 1)).one()
    reader = site.reader("cora")
    assert "Prepare its files" in reader.get(f"/versions/{first.id}/release").text
    reader.post(f"/versions/{first.id}/files/kohya", {})
    page = reader.get(f"/versions/{first.id}").text
    assert "Waiting for a worker" in page
    assert 'hx-trigger="every 2s"' in page
    part = reader.get(f"/versions/{first.id}?part=files", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "Waiting for a worker" in part


def test_strangers_see_what_is_public_alone(site: Site) -> None:
    federations.create(site.store, "elsewhere")
    version = last_version(site)
    other = Site(site.app, site.store, federations.create(site.store, "other"))
    other.account("stan", "administrator")
    reader = site.reader("stan")
    addresses = (
        f"/versions/{version.id}",
        f"/models/{version.artifact_id}",
        f"/models/{version.artifact_id}/description",
    )
    assert [reader.get(address).status_code for address in addresses] == [404, 404, 404]
    assert version.artifact_id not in reader.get("/models").text
    with site.store.begin() as session:
        session.get_one(Artifact, version.artifact_id).visibility = "public"
    assert [reader.get(address).status_code for address in addresses] == [200, 200, 403]
    page = reader.get(addresses[0]).text
    assert "Delete version" not in page
    assert "Prepare download" not in page
    assert "can prepare more files" in page
    assert "/runs/" not in page  # it is not theirs to see
    assert reader.post(f"/versions/{version.id}/delete", {}).status_code == 403
    assert reader.post(f"/versions/{version.id}/files/kohya", {}).status_code == 403


def test_lists_ask_as_often_however_long_they_are(site: Site) -> None:
    reader, version = site.reader("vera"), last_version(site)
    paths = ("/models", "/releases", f"/models/{version.artifact_id}")
    few = [statements(site, reader, path) for path in paths]
    with site.store.begin() as session:
        base = {"federation_id": site.federation_id, "kind": "adapter", "created_at": 1.0}
        for number in range(60):
            artifact = Artifact(id=f"0197{number:04}-0000-7000-8000-000000000000", name=f"many {number}", **base)
            session.add(artifact)
            session.flush()
            made = Version(id=f"0198{number:04}-0000-7000-8000-000000000000", artifact_id=artifact.id, number=1)
            made.content, made.facts, made.files, made.created_at = version.content, {}, {}, 1.0
            session.add(made)
            session.flush()
            given = Release(
                id=f"0199{number:04}-0000-7000-8000-000000000000", artifact_id=artifact.id, version_id=made.id
            )
            given.tag, given.notes, given.files, given.provenance = f"v{number}", "", {}, version.content
            given.released_at = 1.0
            session.add(given)
    assert [statements(site, reader, path) for path in paths] == few
    older = re.search(r'href="(/models\?before=[^"]+)"', reader.get("/models").text)
    assert older is not None
    assert "many 5" in reader.get(older[1]).text


def statements(site: Site, reader: Reader, path: str) -> int:
    """How many statements a page sends to the database."""
    with counted(site.store.engine) as seen:
        assert reader.get(path).status_code == 200
    assert seen
    return len(seen)
