"""People, invitations, the audit log and the overview, as a browser shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update
from statements import counted
from tests.unit.server.conftest import Machine
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import OTHER, PASSWORD, Reader, faults, told, value_of
from tests.unit.server.run_setting import Setting, adapter

from fedflow.plan import Plan
from fedflow.server.database.people import AuditEntry, Role, SignIn
from fedflow.server.database.tables import Run
from fedflow.server.errors import Unprocessable
from fedflow.server.services import (
    accounts,
    audit,
    devices,
    directory,
    federations,
    identity,
    invitations,
    jobs,
    links,
    overview,
    processes,
    roles,
    tokens,
)
from fedflow.server.services.identity import FIRST, SERVER, Caller
from fedflow.server.services.roles import Belonging
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out
from fedflow.web import meanwhile


def _look(store: Store) -> None:
    """Do what an evaluator does: look through the audit log, where somebody has asked for that."""
    [job_id] = jobs.waiting(store, ("verify",))
    carry_out(store, ServerSettings(folder=store.folder), EVALUATION, job_id, "worker")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


class TestPages:
    """Pages on one database; the services below on both."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> ServerSettings:
        return ServerSettings(folder=tmp_path / "data")

    def test_an_administrator_finds_shuts_and_helps_people(self, site: Site) -> None:
        site.account("boss")
        ada = site.account("ada", "viewer")
        reader, her = site.reader("boss"), site.reader("ada")
        assert "2 accounts" in told(reader.get("/people"))
        found = told(reader.get("/people?search=ADA%40"))
        assert "1 account" in found
        assert "boss@example.org" not in found
        assert "Nobody found" in told(reader.get("/people?search=%25"))
        path = f"/people/accounts/{ada}"
        assert "federation (viewer)" in re.sub(r" \(", " (", told(reader.get(path)))
        assert reader.post(f"{path}/shut").status_code == 303
        assert her.get("/").status_code == 303
        assert "Shut" in told(reader.get("/people"))
        assert reader.post(f"{path}/open").status_code == 303
        sent: dict[str, object] = {"identifier": value_of(reader.get(path), "identifier")}
        made = reader.post(f"{path}/password-link", sent)
        link = re.search(r"http://localhost(/password/[\w-]+)", made.text)
        assert link is not None
        assert reader.post(f"{path}/password-link", sent).headers["Location"] == path, "a reload makes no other"
        page = reader.get(path)
        assert "This link was made already, and was shown once." in told(page)
        confirms = reader.post(f"{path}/address-link", sent)
        assert "opening it confirms the address" in told(confirms), "it was another link that was made"
        assert link[1] not in page.text
        assert her.post(link[1], {"password": OTHER}).status_code == 303
        assert her.sign_in("ada", OTHER).status_code == 303
        made = reader.post(f"{path}/address-link")
        link = re.search(r"http://localhost(/address/[\w-]+)", made.text)
        assert link is not None
        her.post(link[1])
        assert "(confirmed)" in told(reader.get(path))
        assert "Federations all" in told(reader.get(f"/people/accounts/{FIRST}"))
        own = reader.post(f"/people/accounts/{FIRST}/shut")
        assert own.status_code == 409
        assert "This is your own account." in told(own)
        last = reader.post(f"/people/accounts/{FIRST}/no-administrator")
        assert "The server would be left without an administrator." in told(last)
        reader.post(f"{path}/administrator")
        assert her.get("/people").status_code == 200
        assert reader.post(f"/people/accounts/{FIRST}/no-administrator").headers["Location"] == "/"
        assert reader.get("/people").status_code == 403

    def test_roles_are_changed_and_taken(self, site: Site) -> None:
        boss, ada = site.account("boss", "administrator"), site.account("ada", "viewer")
        reader = site.reader("boss")
        team = f"/people/{site.federation_id}"
        assert "2 people" in told(reader.get(team))
        assert reader.post(f"{team}/roles/{ada}", {"role": "coordinator"}).headers["Location"] == team
        assert "ada is now coordinator." in told(reader.get(team))
        her = site.reader("ada")
        assert her.get(f"{team}/invite").status_code == 200
        assert her.get(f"{team}/roles/{boss}").status_code == 403
        alone = reader.post(f"{team}/roles/{boss}", {"role": "viewer"})
        assert alone.status_code == 422
        assert "“federation” would be left without an administrator. Make somebody else one first." in told(alone)
        assert reader.post(f"{team}/roles/{ada}/take").status_code == 303
        assert her.get(team).status_code == 404
        assert reader.post(f"{team}/roles/{ada}", {"role": "viewer"}).status_code == 404

    def test_after_the_first_start_roles_are_changed_with_their_member_and_taken(self, site: Site) -> None:
        site.account("boss")  # the server's administrator, who has no role in any federation
        vera = site.account("vera", "viewer")
        reader, team = site.reader("boss"), f"/people/{site.federation_id}"
        lacking = reader.post(f"{team}/roles/{vera}", {"role": "participant", "member": " "})
        assert faults(lacking) == {"member": "Name the member that this participant acts for."}
        reader.post(f"{team}/roles/{vera}", {"role": "participant", "member": "Museum Ost"})
        assert "vera@example.org participant Museum Ost" in told(reader.get(team))
        assert value_of(reader.get(f"{team}/roles/{vera}"), "member") == "Museum Ost"
        opened_before = {"role": "viewer", "member": "", "made_from": meanwhile.mark({"role": "viewer", "member": ""})}
        stale = reader.post(f"{team}/roles/{vera}", {**opened_before, "role": "coordinator"})
        assert stale.status_code == 409
        assert "is now “participant”. Save again to set yours." in told(stale)
        reader.post(f"{team}/roles/{vera}", {"role": "viewer", "member": "Museum Ost"})
        assert "vera@example.org viewer Change" in told(reader.get(team))
        assert reader.post(f"{team}/roles/{vera}/take").status_code == 303
        assert "Nobody has a role here yet" in told(reader.get(team))

    def test_who_invites_gives_no_more_than_they_have(self, site: Site) -> None:
        site.account("ada", "coordinator")
        reader = site.reader("ada")
        path = f"/people/{site.federation_id}/invite"
        page = reader.get(path)
        assert 'value="coordinator"' in page.text
        assert 'value="administrator"' not in page.text
        refused = reader.post(path, {"role": "administrator"})
        assert refused.status_code == 422
        assert "so you cannot invite anybody to a higher one" in told(refused)
        lacking = reader.post(path, {"role": "participant", "email": "eve@example.org"})
        assert "Name the member for a participant" in faults(lacking)["member"]
        assert value_of(lacking, "email") == "eve@example.org"
        for member in ("a/b", ".hidden", "x" * 81, "a\nb"):
            assert "member" in faults(reader.post(path, {"role": "participant", "member": member}))
        made = reader.post(path, {"role": "participant", "member": "Atelier Nord", "email": "eve@example.org"})
        link = re.search(r"http://localhost(/invitation/[\w-]+)", made.text)
        assert link is not None
        team = reader.get(f"/people/{site.federation_id}")
        assert "1 open invitation" in told(team)
        assert link[1] not in team.text
        withdraw = re.search(r'action="([^"]+/withdraw)"', team.text)
        assert withdraw is not None
        assert reader.post(withdraw[1]).status_code == 303
        assert site.reader().get(link[1]).status_code == 404

    def test_an_invitation_to_the_server_makes_another_administrator(self, site: Site) -> None:
        site.account("boss")
        reader = site.reader("boss")
        made = reader.post("/people/invite", {"is_admin": ["off", "on"]})
        link = re.search(r"http://localhost(/invitation/[\w-]+)", made.text)
        assert link is not None
        page = told(reader.get("/people"))
        assert "Open invitations" in page
        fields = {"name": "Eve", "email": "eve@example.org", "password": PASSWORD}
        eve = site.reader()
        eve.post(link[1], fields)
        assert eve.get("/people").status_code == 200
        reader.post("/people/invite", {"email": "x@example.org"})
        withdraw = re.search(r'action="(/people/invitations/[^"]+/withdraw)"', reader.get("/people").text)
        assert withdraw is not None
        assert reader.post(withdraw[1]).status_code == 303

    def test_the_audit_log_is_paged_filtered_and_verified(self, site: Site) -> None:
        site.account("boss")
        site.account("ada", "administrator")
        other = federations.create(site.store, "other")
        for _ in range(60):
            invitations.make(site.store, SERVER, other, "viewer")
        reader, hers = site.reader("boss"), site.reader("ada")
        page = reader.get("/audit")
        assert page.text.count('scope="row"') == 50
        older = re.search(r'href="(/audit\?[^"]*before=\d+)"[^>]*>Older', page.text)
        assert older is not None
        assert reader.get(older[1].replace("&amp;", "&")).text.count('scope="row"') > 5
        signed_in = told(reader.get("/audit?what=signed+in&actor=AD"))
        assert "signed in ada" in signed_in
        assert "boss signed" not in signed_in
        of_ada = re.search(r'href="(/audit\?who=[^"]+)">ada<', page.text)
        assert of_ada is not None
        assert "What ada did." in told(reader.get(of_ada[1]))
        assert "No entry matches these filters." in told(reader.get("/audit?what=run+stopped"))
        assert reader.get("/audit?before=x").status_code == 200
        assert reader.get(f"/audit?before={10**30}").status_code == 200
        hers_page = told(hers.get(f"/audit/{site.federation_id}"))
        assert "took up an invitation" in hers_page
        assert "made an account" not in hers_page
        assert "no evaluator is running" in told(hers.get(f"/audit/{site.federation_id}/chain"))
        processes.seen(site.store, "a-1", "evaluation", "1")
        assert "The log is being checked." in told(hers.get(f"/audit/{site.federation_id}/chain"))
        _look(site.store)
        assert "The chain verifies" in told(hers.get(f"/audit/{site.federation_id}/chain"))
        with site.store.begin() as session:
            session.execute(update(AuditEntry).where(AuditEntry.number == 2).values(actor="Mallory"))
        assert "The chain verifies" in told(reader.get("/audit/chain"))  # it was looked at a moment ago
        assert jobs.waiting(site.store, ("verify",)) == []
        again = reader.post("/audit/chain")
        assert (again.status_code, again.headers["Location"]) == (303, "/audit/chain")
        assert "The log is being checked." in told(reader.get("/audit/chain"))
        _look(site.store)
        broken = told(reader.get("/audit/chain"))
        assert "The log is not as it was written." in broken
        assert "Entry 2 was altered" in broken

    def test_the_audit_log_names_the_browser_and_the_token_and_puts_facts_into_words(self, site: Site) -> None:
        boss = site.account("boss")
        reader = site.reader("boss")
        forgotten = Caller("person", boss, name="boss", via="token that-is-gone", is_admin=True)
        with site.store.begin() as session:
            file = {"diffusers": {"sha256": "ab" * 32, "size_bytes": 1_214_128, "name": "x.safetensors"}}
            audit.record(session, site.store, forgotten, "released", "release", "x", files=file, visibility="public")
        person = Caller("person", boss, name="boss", via="registration", is_admin=True)
        by_token = identity.authenticate(site.store, tokens.make(site.store, person, "night job", ["read"], 3600.0))
        with site.store.begin() as session:
            audit.record(session, site.store, by_token, "run paused", "run", "x")
            session.execute(update(SignIn).values(agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"))
        assert reader.post(f"/people/{site.federation_id}/invite", {"role": "viewer"}).status_code == 200
        page = told(reader.get("/audit"))
        assert re.search(r"files: diffusers \(1\.21\sMB, (ab){6}\) · seen by: everybody on this server", page)
        assert "with the API token “night job”" in page
        assert "in a browser: Firefox on Linux" in page
        assert "with an API token" in page, "one that is known no more"
        assert "sha256" not in page

    def test_the_overview_begins_with_what_waits(self, site: Site) -> None:
        site.account("boss", "coordinator")
        site.account("ada", "participant")
        with site.store.begin() as session:
            for number, status in enumerate(("done", "failed", "paused", "running", "running")):
                session.add(_run(site.federation_id, number, status))
        page = told(site.reader("boss").get("/"))
        assert "2 things wait for you" in page
        failed, paused = "run 1 federation · failed in round 1 No base.", "run 2 federation · paused in round 1"
        assert page.index(failed) < page.index(paused)
        assert "run 4 Running federation 1 of 12" in page
        assert [page.count(f"run {number} ") for number in range(5)] == [1] * 5, "each stands in one place"
        assert "run 0 Done round 1 of 12" in page
        assert page.count("Resume run") == 2
        hers = told(site.reader("ada").get("/"))
        assert "studio federation · has no machine yet" in hers
        assert "Their coordinators can resume them." in hers
        assert "Resume run" not in hers

    def test_the_overview_stays_short_and_counts_truly(self, site: Site) -> None:
        site.account("boss")
        with site.store.begin() as session:
            for number in range(130):
                session.add(_run(site.federation_id, number, ("paused", "failed", "running")[number % 3]))
        boss = site.reader("boss")
        page = told(boss.get("/"))
        assert "87 things wait for you" in page  # 44 paused, 43 failed
        assert page.count("Resume run") == 5
        assert page.count("failed in round 1") == 5
        assert "82 more failed or paused runs" in page
        assert "38 more runs under way" in page
        all_of_them = [told(boss.get(path)) for path in ("/runs/stuck", "/runs/stuck?page=2")]
        assert [text.count("Resume run") for text in all_of_them] == [50, 37]
        assert "51\N{EN DASH}87 of 87" in all_of_them[1]
        site.account("vera", "viewer")
        vera = site.reader("vera")
        assert "Nothing waits for you" in told(vera.get("/"))
        assert "82 more failed or paused runs" in told(vera.get("/"))
        assert "Resume run" not in told(vera.get("/runs/stuck"))
        assert vera.get("/runs/stuck?page=9").location == "/runs/stuck"

    def test_people_and_audit_lead_to_every_federation(self, site: Site) -> None:
        site.account("boss")
        others = [federations.create(site.store, f"other {number}") for number in range(8)]
        boss = site.reader("boss")
        for place in ("people", "audit"):
            for here in (f"/{place}", f"/{place}/{others[7]}"):
                page = boss.get(here).text
                for federation_id in (site.federation_id, *others):
                    assert f'href="/{place}/{federation_id}"' in page
                assert "3 more" in told(boss.get(here))
                assert f'<a href="{here}" aria-current="page">' in page

    def test_an_empty_server_says_what_to_do_first(self, site: Site) -> None:
        site.account("boss")
        boss = site.reader("boss")
        page = told(boss.get("/"))
        assert "Nothing waits for you" in page
        assert (
            page.index("Let the organisations in") < page.index("Invite the people") < page.index("Plan the first run")
        )
        assert "As soon as the first organisation has joined." in page
        code = devices.new_code(site.store, site.federation_id, "studio", None, ttl_s=60)
        Machine(site.store).join(code)
        assert "As soon as the first organisation has joined." not in told(boss.get("/"))
        assert f"/federations/{site.federation_id}/runs/new" in boss.get("/").text
        site.account("vera", "viewer")
        assert "When a coordinator starts a run" in told(site.reader("vera").get("/"))

    def test_the_overview_tells_a_participant_what_waits_for_its_member(self, site: Site, setting: Setting) -> None:
        member = next(each for each in federations.members(site.store, site.federation_id) if each.name == "a")
        site.account("ada", "participant")
        with site.store.begin() as session:
            session.scalars(select(Role).where(Role.member_id.is_not(None))).one().member_id = member.id
        ada = site.reader("ada")
        assert "Nothing waits for you" in told(ada.get("/"))
        assert "test Running federation 1 of 2 0 of 3 in" in told(ada.get("/"))
        assert ada.get("/").text.count(f'/runs/{setting.run}"') == 1, "once, and not again under its federation"
        assert "No run yet" not in ada.get("/").text
        with pytest.raises(Unprocessable):
            setting.hand_in("a", 1, adapter(1, size=1e6))
        refused = "test federation · the update of “a” in round 1 was refused The update's values are too large"
        assert refused in told(ada.get("/"))
        assert "норма" in told(ada.get("/", headers={"Accept-Language": "uk"}))
        setting.hand_in("a", 1, adapter(1))
        assert "Nothing waits for you" in told(ada.get("/"))

    @pytest.mark.parametrize("path", ["/", "/people", "/people/{federation}", "/audit", "/federations"])
    def test_no_query_grows_with_the_rows(self, site: Site, path: str) -> None:
        site.account("boss")
        reader = site.reader("boss")
        path = path.format(federation=site.federation_id)

        def statements() -> int:
            with counted(site.store.engine, site.store._reading) as found:
                assert reader.get(path).status_code == 200
            return len(found)

        reader.get(path)
        before = statements()
        for number in range(3):
            site.account(f"person{number}", "viewer")
            other = federations.create(site.store, f"other {number}")
            invitations.make(site.store, SERVER, site.federation_id, "viewer")
            with site.store.begin() as session:
                session.add(_run(other, number, "failed"))
        assert before > 2
        assert statements() == before

    def test_what_people_write_stays_text(self, site: Site) -> None:
        site.account("boss")
        evil = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>"[:80]
        reader = site.reader("boss")
        reader.post("/account", {"name": evil})
        other = federations.create(site.store, evil)
        made = reader.post(f"/people/{other}/invite", {"role": "participant", "member": "<b onclick=x()>"})
        paths = ["/", "/people", "/audit", "/account", f"/people/{other}", f"/people/{other}/invite"]
        for text in (made.text, *(reader.get(path).text for path in paths)):
            assert "<script>alert" not in text
            assert "<img src=x" not in text
            assert "<b onclick" not in text
        assert Reader.of(site.app).get(f"/sign-in?next={evil}").text.count("<script>alert") == 0


def _run(federation_id: str, number: int, status: str) -> Run:
    plan = Plan(rounds=12).model_dump(mode="json")
    row = Run(id=f"{federation_id[-6:]}-{number}", federation_id=federation_id, name=f"run {number}", plan=plan)
    row.status, row.round, row.message, row.created_at = status, 1, "no base", 1.8e9 + number
    return row


def test_the_overviews_services_agree_on_both_databases(store: Store, federation_id: str) -> None:
    boss = Caller("person", FIRST, is_admin=True)
    other = federations.create(store, "zoo")
    assert roles.belongings(store, boss) == [
        Belonging(federation_id, "federation", "administrator", None, closed=False),
        Belonging(other, "zoo", "administrator", None, closed=False),
    ]
    with store.begin() as session:
        for number, status in enumerate(("done", "failed", "paused", "running")):
            session.add(_run(federation_id, number, status))
    newest = overview.newest_runs(store, [federation_id, other])
    assert {name: [run.name for run in runs] for name, runs in newest.items()} == {
        federation_id: ["run 3", "run 2", "run 1"]
    }
    assert newest[federation_id][0].rounds == 12
    older = overview.newest_runs(store, [federation_id, other], 2, {newest[federation_id][1].id})
    assert [run.name for run in older[federation_id]] == ["run 3", "run 1"]
    stuck = overview.stuck_runs(store, [federation_id, other])
    assert ([run.name for run in stuck.shown], stuck.total) == (["run 1", "run 2"], 2)  # what failed comes first
    stuck = overview.stuck_runs(store, [federation_id, other], start=1, most=1)
    assert ([run.name for run in stuck.shown], stuck.total) == (["run 2"], 2)
    assert overview.stuck_runs(store, [other]) == overview.Some([], 0)
    assert overview.asked(store, roles.belongings(store, boss)) == []
    assert overview.refused(store, roles.belongings(store, boss)) == []
    assert overview.without_machine(store, roles.belongings(store, boss)) == []
    assert overview.under_way(store, [other], 5) == overview.Some([], 0)
    [line] = overview.under_way(store, [federation_id, other], 5).shown
    assert (line.run.name, line.phase, line.accepted, line.selected) == ("run 3", None, 0, 0)


def test_accounts_are_found_by_a_part_of_name_or_address(store: Store, federation_id: str) -> None:
    for name in ("Zoë Ünal", "ada_b", "Ada Cc"):
        code = invitations.make(store, SERVER, federation_id, "viewer")
        accounts.register(store, name, f"{name[:3].lower()}{len(name)}@example.org", PASSWORD, code, "")
    found, total = directory.accounts(store, "", 1, 2)
    assert ([each.name for each in found], total) == (["ada_b", "Zoë Ünal"], 3)
    assert [each.name for each in directory.accounts(store, "ADA", 0, 9)[0]] == ["Ada Cc", "ada_b"]
    assert [each.name for each in directory.accounts(store, "a_b", 0, 9)[0]] == ["ada_b"]
    person = directory.person_of(store, " ADA5@example.org")
    assert directory.account(store, person).federations == 1
    assert directory.roles_of(store, person) == [(federation_id, "federation", "viewer")]
    assert directory.names(store, {person}) == {person: "ada_b"}
    code = links.make(store, SERVER, person, "address", "ada5@example.org")
    accounts.confirm_address(store, Caller("person", person), code)
    assert directory.account(store, person).is_confirmed
