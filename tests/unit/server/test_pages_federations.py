"""Pages of federations: members, devices, join codes and rules, as a browser shows them."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from statements import counted
from tests.unit.server.conftest import Machine
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import Reader, faults, told, value_of
from tests.unit.server.run_setting import Setting

from fedflow.server.database.people import Invitation
from fedflow.server.database.tables import JoinCode, Member
from fedflow.server.errors import Forbidden
from fedflow.server.services import (
    devices,
    federation_changes,
    federations,
    invitations,
    join_codes,
    members,
    policies,
    shown_counts,
)
from fedflow.server.services.identity import SERVER
from fedflow.server.services.policies import Policies
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data", public_url="https://fedflow.example")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


@pytest.fixture
def cora(site: Site) -> Reader:
    """A coordinator."""
    site.account("cora", "coordinator")
    return site.reader("cora")


def test_an_administrator_makes_a_federation(site: Site) -> None:
    site.account("boss")
    boss = site.reader("boss")
    assert "New federation" in told(boss.get("/federations"))
    assert "Write 1 to 80 characters" in faults(boss.post("/federations/new", {"name": " "}))["name"]
    assert (
        "There is already a federation “federation”."
        in faults(boss.post("/federations/new", {"name": "federation"}))["name"]
    )
    made = boss.post("/federations/new", {"name": " Museums  of the north "})
    assert made.status_code == 303
    page = told(boss.get(made.headers["Location"]))
    assert "Museums of the north 0 members" in page
    assert "Make the first join code" in page
    assert "federation administrator 0 0 0 0" in told(boss.get("/federations"))


def member_of(site: Site) -> str:
    """The identifier of the federation's only member."""
    [found] = federations.members(site.store, site.federation_id)
    return found.id


def test_an_invitation_that_waits_for_a_closed_federation_says_so_and_offers_nothing(site: Site) -> None:
    here = site.store, SERVER, site.federation_id
    codes = [invitations.make(*here, "participant", member="new"), invitations.make(*here, "viewer")]
    federation_changes.close(site.store, site.federation_id, closed=True)
    held_up, reads = (site.reader().get(f"/invitation/{code}") for code in codes)
    assert "so nobody can join as “new” now" in told(held_up)
    assert "Make account" not in told(held_up)
    assert "what is there can be read" in told(reads)
    assert "Make account" in told(reads)
    site.account("boss")
    assert "waits until the federation is open again" in told(site.reader("boss").get(f"/people/{site.federation_id}"))


def test_the_first_federation_is_named_closed_and_opened_again(site: Site, machine: Machine) -> None:
    site.account("boss")
    reader, path = site.reader("boss"), f"/federations/{site.federation_id}"
    assert f"{path}/settings" in reader.get("/").text
    assert "still has the name that every server begins with" in told(reader.get(path))
    assert faults(reader.post(f"{path}/settings", {"name": " "})) == {"name": "Write 1 to 80 characters on one line."}
    assert reader.post(f"{path}/settings", {"name": " Museums  of the north"}).headers["Location"] == path
    page = told(reader.get(path))
    assert "The federation is now called “Museums of the north”." in page
    assert "that every server begins with" not in page
    assert "so it can only be closed" in told(reader.get(f"{path}/settings"))
    reader.post(f"{path}/settings/close")
    assert "The federation is closed. Everything in it can still be read." in told(reader.get(f"{path}/settings"))
    page = reader.get(path)
    assert "studio" in told(page)
    assert f"{path}/codes" not in page.text
    refused = reader.post(f"{path}/codes", {"member": "another"})
    assert (refused.status_code, "The federation is closed." in told(refused)) == (409, True)
    assert "No join codes while it is closed" in told(reader.get(f"{path}/codes"))
    assert "No new runs while the federation is closed" in told(reader.get(f"{path}/runs/new"))
    assert "Let a machine in" not in told(reader.get(f"{path}/devices"))
    people = f"/people/{site.federation_id}"
    for page in (people, f"{people}/invite", f"/members/{member_of(site)}"):
        assert "This federation is closed" in told(reader.get(page))
    refused = reader.post(f"{people}/invite", {"role": "participant", "member": "another"})
    assert faults(refused) == {"member": "The federation is closed. Its administrators can open it again."}
    assert "/invitation/" in reader.post(f"{people}/invite", {"role": "viewer"}).text
    assert "Closed" in told(reader.get("/federations"))
    reader.post(f"{path}/settings/open")
    assert f"{path}/codes" in reader.get(path).text
    reader.post(f"{path}/settings/delete")
    assert "Close it instead." in told(reader.get(f"{path}/settings"))


def test_an_empty_federation_is_deleted(site: Site) -> None:
    site.account("boss")
    reader = site.reader("boss")
    made = reader.post("/federations/new", {"name": "Typo"}).headers["Location"]
    assert "Delete “Typo”?" in told(reader.get(f"{made}/settings"))
    assert reader.post(f"{made}/settings/delete").headers["Location"] == "/federations"
    assert "Typo" not in told(reader.get("/federations")).replace("The federation is deleted.", "")


def test_a_code_is_shown_once_with_its_line_and_withdrawn(site: Site, cora: Reader) -> None:
    path = f"/federations/{site.federation_id}/codes"
    for member in ("", "a/b", "base"):
        assert "member" in faults(cora.post(path, {"member": member}))
    wrong = cora.post(path, {"member": "museum", "max_examples": "many"})
    assert (wrong.status_code, faults(wrong)["max_examples"]) == (422, "“many” is not a whole number of at least 1.")
    assert value_of(wrong, "member") == "museum"
    made = cora.post(path, {"member": "Musée d'Art", "max_examples": "40"})
    line = re.search(r"<code>fedflow join https://fedflow\.example --code ([\w-]+) --data FOLDER</code>", made.text)
    assert line is not None
    assert "within 7 days" in told(made)
    again = cora.get(path)
    assert line[1] not in again.text
    assert "Musée d'Art 40" in told(again)
    withdraw = re.search(r'action="([^"]+/withdraw)"', again.text)
    assert withdraw is not None
    assert cora.post(withdraw[1]).status_code == 303
    assert "0 open join codes" in told(cora.get(path))
    assert cora.post(withdraw[1]).status_code == 404


def test_members_devices_caps_and_removal(site: Site, cora: Reader, machine: Machine) -> None:
    [studio] = federations.members(site.store, site.federation_id)
    here, page = f"/federations/{site.federation_id}", f"/members/{studio.id}"
    assert "studio Joined 1 0 500" in told(cora.get(here))
    assert "1 device" in told(cora.get(f"{here}/devices"))
    assert "studio-pc" in told(cora.get(f"{here}/devices"))
    refused = cora.post(f"{page}/cap", {"max_examples": "0"})
    assert "is not a whole number of at least 1" in faults(refused)["max_examples"]
    cora.post(f"{page}/cap", {"max_examples": "30"})
    assert value_of(cora.get(page), "max_examples") == "30"
    assert "Revoke “studio-pc”?" in told(cora.get(page))
    assert cora.post(f"/devices/{machine.device_id}/revoke").headers["Location"] == page
    with pytest.raises(Forbidden):
        machine.token()
    assert "No machine yet" in told(cora.get(page))
    cora.post(f"{page}/remove")
    after = cora.get(page)
    assert "Let back in" in told(after)
    assert "Removed" in told(cora.get(here))
    back = re.search(r'href="(/federations/[^"]+/codes\?member=studio)"', after.text)
    assert back is not None
    assert value_of(cora.get(back[1]), "member") == "studio"


def test_a_machine_that_joined_again_stands_once_and_the_old_one_is_folded(
    site: Site, cora: Reader, machine: Machine
) -> None:
    [studio] = federations.members(site.store, site.federation_id)
    here, page = f"/federations/{site.federation_id}/devices", f"/members/{studio.id}"
    cora.post(f"{page}/remove")
    assert '<details class="more-fields" open>' in cora.get(page).text, "it is all that there is"
    Machine(site.store).join(devices.new_code(site.store, site.federation_id, "studio", None, ttl_s=60))
    for place in (here, page):
        shown = cora.get(place).text
        current, folded = shown.split('<details class="more-fields">', 1)
        assert current.count("studio-pc") == folded.split("</details>")[0].count("studio-pc") == 1
        assert "1 removed device" in told(cora.get(place))
        assert "Removed" not in current.split("<table", 1)[1]
    assert "1 device" in told(cora.get(here))


def test_who_acts_for_a_member_says_whether_its_counts_are_shown(site: Site, cora: Reader, machine: Machine) -> None:
    [studio] = federations.members(site.store, site.federation_id)
    site.account("paul", "participant")
    site.account("vera", "viewer")
    paul, vera = site.reader("paul"), site.reader("vera")
    path = f"/members/{studio.id}"
    assert " checked" not in paul.get(path).text
    assert "do not name it to people outside the federation" in told(vera.get(path))
    assert vera.post(f"{path}/counts", {"shown": ["off", "on"]}).status_code == 403
    assert paul.post(f"{path}/counts", {"shown": ["off", "on"]}).headers["Location"] == path
    after = paul.get(path)
    assert "are now shown" in told(after)
    assert " checked" in after.text
    assert shown_counts.are_shown(site.store, studio.id)
    assert "show its name and counts" in told(vera.get(path))
    with site.store.begin() as session:
        session.add(Member(id="m2", federation_id=site.federation_id, name="other", max_examples=9, created_at=0.0))
    refused = paul.post("/members/m2/counts", {"shown": ["off", "on"]})
    assert refused.status_code == 403
    assert "Only a participant acting for “other” may do this." in told(refused)
    cora.post(f"{path}/counts", {"shown": "off"})
    assert not shown_counts.are_shown(site.store, studio.id)
    assert "Only the member can change this" in told(cora.get(path))
    assert cora.post(f"{path}/counts", {"shown": ["off", "on"]}).status_code == 403
    assert cora.post("/members/m2/counts", {"shown": ["off", "on"]}).status_code == 403, "nobody acts for it"
    assert "Show them in lineages" not in told(cora.get("/members/m2"))
    assert machine.device_id


def test_a_member_shows_its_runs_and_what_it_answered(site: Site, cora: Reader, setting: Setting) -> None:
    found = federations.members(site.store, site.federation_id)
    page = told(cora.get(f"/members/{found[0].id}"))
    assert "test Running consented" in page
    assert "a Joined 1 1 50" in told(cora.get(f"/federations/{site.federation_id}"))
    assert setting.run


def test_rules_are_a_form_that_is_checked_and_saved(site: Site, cora: Reader) -> None:
    path = f"/federations/{site.federation_id}/rules"
    wrong = cora.post(path, {"runs.most_rounds": "0", "runs.allowed_methods": ["", "fedit", "fedavg"]})
    assert (wrong.status_code, faults(wrong)["runs.most_rounds"]) == (422, "Must be at least 1.")
    assert len(re.findall(r'value="fed\w+" checked', wrong.text)) == 2, "nothing is lost"
    assert "Must be at least 1." in cora.post(f"{path}/check", {"runs.most_rounds": "0"}).text
    saved = cora.post(
        path,
        {
            "runs.most_rounds": "9",
            "runs.allowed_methods": ["", "fedit"],
            "runs.allowed_models": "starter\r\nsdxl",
            "visibility.member_galleries": "off",
        },
    )
    assert saved.status_code == 303
    now = policies.read(site.store, site.federation_id)
    assert (now.runs.most_rounds, now.runs.allowed_methods) == (9, ("fedit",))
    assert (now.runs.allowed_models, now.visibility.member_galleries) == (("starter", "sdxl"), False)
    opened_before = value_of(cora.get(path), "made_from")
    cora.post(path, {"visibility.member_galleries": "on", "members.most_devices": "4"})
    stale = {"made_from": opened_before, "visibility.member_galleries": "off", "members.most_members": "5"}
    assert cora.post(path, stale).status_code == 303
    now = policies.read(site.store, site.federation_id)
    assert (now.visibility.member_galleries, now.members.most_members) == (True, 5), "only what was changed is set"
    checked = cora.post(f"{path}/check", stale)
    assert value_of(checked, "made_from") == opened_before
    refused = cora.post(path, {**stale, "members.most_devices": "3", "runs.allowed_methods": ["", "fedit"]})
    assert (refused.status_code, list(faults(refused))) == (409, ["members.most_devices"])
    assert "is now “4”. Save again to set yours." in faults(refused)["members.most_devices"]
    cora.post(path, {"runs.allowed_methods": [""]})
    assert policies.read(site.store, site.federation_id).runs.allowed_methods == ()
    site.account("vera", "viewer")
    seen = told(site.reader("vera").get(path))
    assert "Most rounds 9" in seen
    assert "Save rules" not in seen


def test_who_may_what(site: Site, machine: Machine) -> None:
    [studio] = federations.members(site.store, site.federation_id)
    here = f"/federations/{site.federation_id}"
    site.account("vera", "viewer")
    vera = site.reader("vera")
    assert "Remove member" not in vera.get(f"/members/{studio.id}").text
    assert "New federation" not in vera.get("/federations").text
    for path in (f"{here}/codes", "/federations/new"):
        assert vera.get(path).status_code == 403
    changes = (f"{here}/codes", f"{here}/rules", f"/members/{studio.id}/remove", f"/members/{studio.id}/cap")
    for path in (*changes, f"/devices/{machine.device_id}/revoke", "/federations/new"):
        assert vera.post(path, {"name": "x", "member": "x", "max_examples": "1"}).status_code == 403
    other = federations.create(site.store, "other")
    Site(site.app, site.store, other).account("stranger", "administrator")
    stranger = site.reader("stranger")
    for path in (here, f"{here}/devices", f"{here}/rules", f"{here}/codes", f"/members/{studio.id}"):
        assert stranger.get(path).status_code == 404
    assert "federation viewer" not in told(stranger.get("/federations"))
    assert machine.token()


def test_lists_take_as_many_queries_whatever_their_length(site: Site) -> None:
    store, federation_id = site.store, site.federation_id

    def joined(name: str) -> None:
        Machine(store).join(devices.new_code(store, federation_id, name, 9, ttl_s=60))

    def looked() -> int:
        with counted(store._reading) as sent:
            members.listed(store, federation_id, 0, 50)
            members.devices(store, federation_id, 0, 50)
            members.summaries(store, [each.id for each in federations.listed(store, SERVER, "", 50)])
            join_codes.open_codes(store, federation_id)
        return len(sent)

    joined("one")
    few = looked()
    for number in range(5):
        joined(f"member {number}")
        federations.create(store, f"federation {number}")
        join_codes.make(store, federation_id, "x", None, longest_s=60.0)
    assert looked() == few
    found, total = members.listed(store, federation_id, 2, 3)
    assert ([line.name for line in found], total) == (["member 2", "member 3", "member 4"], 6)


def test_names_are_shown_as_they_are(site: Site, cora: Reader) -> None:
    Machine(site.store).join(devices.new_code(site.store, site.federation_id, "<b>x&y", 9, ttl_s=60))
    page = cora.get(f"/federations/{site.federation_id}").text
    assert "<b>x" not in page
    assert "<b>x&y" in unescape(page)
    policies.change(site.store, site.federation_id, Policies.model_validate({"runs": {"allowed_models": ["<i>"]}}))
    assert "<i>" not in cora.get(f"/federations/{site.federation_id}/rules").text


def test_a_name_in_other_letters_is_the_member_that_is_there(site: Site, cora: Reader) -> None:
    site.account("paul", "participant")  # of "studio"
    codes, invite = f"/federations/{site.federation_id}/codes", f"/people/{site.federation_id}/invite"
    for path in (codes, invite):
        assert '<option value="studio">' in cora.get(path).text
    assert "on the machine of “studio”" in told(cora.post(codes, {"member": "STUDIO"}))
    assert cora.post(codes, {"member": "Музей"}).status_code == 200
    assert "on the machine of “Музей”" in told(cora.post(codes, {"member": "музей"})), "which is still to come"
    assert cora.post(invite, {"role": "participant", "member": "Studio"}).status_code == 200
    with site.store.read() as session:
        assert set(session.scalars(select(JoinCode.member_name))) == {"studio", "Музей"}
        assert set(session.scalars(select(Invitation.member_name))) == {"studio", None}
