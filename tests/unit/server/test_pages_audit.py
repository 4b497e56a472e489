"""The audit log's page says what was changed, from what to what; and gives what is found as a file."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import update
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import PASSWORD, Reader, text_of
from tests.unit.server.run_setting import Setting, plan_of, start
from tests.unit.server.test_audit import _look

from fedflow.server.database.people import AuditEntry
from fedflow.server.database.tables import Artifact
from fedflow.server.errors import Unauthorised
from fedflow.server.services import (
    accounts,
    audit,
    audit_looks,
    catalogue,
    federations,
    invitations,
    members,
    policies,
    runs,
    sign_in,
    tokens,
)
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.policies import Policies
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


@pytest.fixture
def settings(tmp_path) -> ServerSettings:  # type: ignore[no-untyped-def]
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store) -> Site:
    return Site.of(app, store)


def log(reader: Reader, address: str = "/audit", language: str = "en") -> str:
    return text_of(reader.get(address, headers={"Accept-Language": language}).text)


class TestWhatWasChanged:
    def test_each_change_of_a_run_names_it_and_leads_to_it(
        self, site: Site, setting: Setting, federation_id: str
    ) -> None:
        site.account("boss")
        other = start(site.store, federation_id, setting.callers, plan_of(name="second"))
        runs.pause(site.store, other.run)
        runs.resume(site.store, other.run)
        runs.stop(site.store, other.run)
        entries = audit.listed(site.store, object_id=other.run, before=audit.NEWEST, limit=50)
        assert {entry.facts["name"] for entry in entries} == {"second"}
        assert [entry.action for entry in entries][:3] == ["run stopped", "run resumed", "run paused"]
        boss = site.reader("boss")
        page = boss.get("/audit").text
        assert "stopped a run · second" in text_of(page)
        assert f'<a href="/runs/{other.run}">second</a>' in page
        assert "consented to a run · second" in text_of(page)
        one = re.search(rf'href="(/audit\?about={other.run})"', page)
        assert one is not None
        only = log(boss, one[1])
        assert "What was done with second." in only
        assert only.count("· second") == len(entries)
        assert "· test" not in only

    def test_what_is_gone_is_named_and_leads_nowhere(self, site: Site) -> None:
        boss = site.account("boss")
        caller = Caller("person", boss, name="boss", is_admin=True)
        tokens.make(site.store, caller, "night job", ["read"], 3600.0)
        line = next(each for each in tokens.listed(site.store, caller) if each.name == "night job")
        tokens.revoke(site.store, caller, line.id)
        with site.store.begin() as session:
            audit.record(session, site.store, caller, "run paused", "run", "gone", None, name="old run")
        page = site.reader("boss").get("/audit").text
        assert "revoked an API token · night job" in text_of(page)
        assert "paused a run · old run" in text_of(page)
        assert "/runs/gone" not in page

    def test_nobody_is_led_to_what_is_anothers_alone(self, site: Site, store: Store) -> None:
        """An administrator of a federation sees its log, but no private model with an owner, and no account's page."""
        site.account("ada", "administrator")
        cora = site.account("cora", "coordinator")
        with store.begin() as session:
            row = Artifact(id="m1", federation_id=site.federation_id, kind="adapter", name="hers", created_at=0.0)
            row.owner_id, row.visibility = cora, "federation"
            session.add(row)
        caller = Caller("person", cora, name="cora")
        catalogue.describe(store, caller, "m1", catalogue.Description("private"))
        page = site.reader("ada").get(f"/audit/{site.federation_id}").text
        assert "hers" in text_of(page)
        assert 'href="/models/m1"' not in page
        assert "seen by: its federation → its owner" in text_of(page)
        assert "/people/accounts/" not in page

    def test_an_account_that_was_closed_is_told_apart_and_not_named(self, site: Site, store: Store) -> None:
        site.account("boss")
        pat = site.account("pat", "viewer")
        with store.begin() as session:
            audit.record(session, store, SERVER, "link to set password made", "person", pat)
        reader = site.reader("boss")
        assert "made a link to set a password · pat" in log(reader)
        accounts.delete_account(store, Caller("person", pat, name="pat"), PASSWORD)
        page = reader.get("/audit").text
        assert f"made a link to set a password · a closed account ({pat[-6:]})" in text_of(page)
        assert f'href="/people/accounts/{pat}"' not in page
        assert f"about={pat}" in page, "all that was done with it can be looked at"


class TestFacts:
    def test_what_was_switched_off_is_shown(self, site: Site, store: Store) -> None:
        site.account("boss")
        with store.begin() as session:
            audit.record(
                session, store, SERVER, "counts shown changed", "member", "m", None, member="Museum", shown=False
            )
            audit.record(session, store, SERVER, "password changed", "person", "p", None, tokens_ended=0)
        said = log(site.reader("boss"))
        assert "chose whether a member's example counts are shown · Museum history shown: no" in said
        assert "API tokens ended: 0" in said

    def test_rules_are_told_by_their_labels_from_what_to_what(self, site: Site, store: Store) -> None:
        site.account("boss")
        wanted = Policies.model_validate(
            {
                "runs": {"allowed_methods": ["fedit"], "most_rounds": 20},
                "members": {"most_examples": 5000},
                "visibility": {"member_galleries": False, "example_counts": False},
            }
        )
        policies.change(store, site.federation_id, wanted)
        reader = site.reader("boss")
        said = log(reader)
        for part in (
            "Allowed methods: all → FedIT: adapters",
            "Most rounds: not set → 20",
            "Picture limit: 100,000 → 5,000",
            "Picture counts: yes → no",
        ):
            assert part in said, part
        assert "allowed_methods" not in said
        assert "member_galleries" not in said
        in_ukrainian = log(reader, language="uk")
        assert "так → ні" in in_ukrainian
        assert "example_counts" not in in_ukrainian

    def test_values_are_told_in_words(self, site: Site, store: Store, federation_id: str) -> None:
        site.account("boss")
        with store.begin() as session:
            audit.record(session, store, SERVER, "account locked", "person", "p", None, seconds=90.0)
            told = {"name": "mine", "visibility": "public", "before": "federation", "licence": "MIT"}
            audit.record(session, store, SERVER, "description changed", "adapter", "x", federation_id, **told)
            told = {"member": "Museum", "before": 100_000, "max_examples": 50}
            audit.record(session, store, SERVER, "cap changed", "member", "y", federation_id, **told)
            audit.record(session, store, SERVER, "role taken", "person", "z", federation_id, before="viewer")
            told = {"before": "viewer", "role": "participant"}
            audit.record(session, store, SERVER, "role changed", "person", "z", federation_id, **told)
        reader = site.reader("boss")
        said = log(reader)
        for part in (
            "has to wait: 1 min 30 s",
            "seen by: its federation → everybody on this server",
            "picture limit: 100,000 → 50",
            "role: viewer",
            "role: viewer → participant",
        ):
            assert part in said, part
        assert "federation →" not in log(reader, language="uk")

    def test_a_new_name_stands_beside_the_old_one(self, site: Site, store: Store) -> None:
        boss = site.account("boss")
        accounts.rename(store, Caller("person", boss, name="boss"), "Boss B.", None)
        assert "name: boss → Boss B." in log(site.reader("boss"))

    def test_of_an_address_that_was_changed_first_letter_and_domain_are_told(self, site: Site, store: Store) -> None:
        boss = site.account("boss")
        accounts.change_email(store, Caller("person", boss, name="boss"), PASSWORD, "chief@new.example")
        [entry] = audit.listed(store, action="address changed", before=audit.NEWEST, limit=9)
        assert entry.facts == {"before": "b…@example.org", "email": "c…@new.example"}
        reader = site.reader()
        reader.sign_in("", email="chief@new.example")
        assert "address: b…@example.org → c…@new.example" in log(reader)

    def test_who_has_not_signed_in_is_somebody_in_the_readers_language(self, site: Site, store: Store) -> None:
        site.account("boss")
        for _ in range(sign_in.FREE_FAILURES):
            with pytest.raises(Unauthorised):
                sign_in.sign_in(store, "boss@example.org", "wrong", "", "", "192.0.2.9")
        reader, locked = site.reader("boss"), "/audit?what=account+locked"
        assert re.search(r"too many wrong tries to sign in .* somebody 192\.0\.2\.9", log(reader, locked))
        assert re.search(r"забагато невдалих спроб увійти .* хтось 192\.0\.2\.9", log(reader, locked, language="uk"))

    def test_wrong_tries_are_counted_with_the_sign_in_that_follows(self, site: Site, store: Store) -> None:
        """A stranger cannot flood the log: each wrong try by itself is no entry."""
        boss = site.account("boss")
        before = audit.verify(store).entries
        for _ in range(3):
            with pytest.raises(Unauthorised):
                sign_in.sign_in(store, "boss@example.org", "wrong", "", "", "192.0.2.9")
        assert audit.verify(store).entries == before
        reader = site.reader("boss")
        [entry] = audit.listed(store, action="signed in", actor_id=boss, before=audit.NEWEST, limit=9)
        assert entry.facts["wrong_tries"] == 3
        assert "wrong tries before: 3" in log(reader)
        site.reader("boss")
        newest, _ = audit.listed(store, action="signed in", actor_id=boss, before=audit.NEWEST, limit=9)
        assert "wrong_tries" not in newest.facts


class TestTime:
    def test_days_are_whole_and_in_utc(self, site: Site, store: Store, clock: Clock) -> None:
        site.account("boss")
        reader = site.reader("boss")
        midnight = datetime(2027, 1, 16, tzinfo=UTC).timestamp()
        for name, at in (("before", -0.5), ("first", 0.0), ("last", 2 * 86_400 - 0.5), ("after", 2 * 86_400.0)):
            clock.now = midnight + at
            federations.create(store, name)
        clock.now = midnight + 3 * 86_400  # within the reader's sign-in
        found = log(reader, "/audit?since=2027-01-16&until=2027-01-17&what=federation+made")
        names = [name for name in ("before", "first", "last", "after") if f"made the federation · {name}" in found]
        assert names == ["first", "last"]
        assert "federation" in log(reader, "/audit?since=0001-01-01&until=9999-12-31")
        assert reader.get("/audit?since=yesterday&until=2027-13-45").status_code == 200


class TestFiles:
    def test_what_is_found_comes_as_a_table_and_as_lines(self, site: Site, store: Store, clock: Clock) -> None:
        site.account("boss")
        with store.begin() as session:
            mallory = Caller("person", "x", name="=HYPERLINK(0)", address="192.0.2.1")
            audit.record(session, store, mallory, "run paused", "run", "r", None, name="+1", shown=False)
        reader = site.reader("boss")
        page = reader.get("/audit?what=run+paused").text
        links = [found.replace("&amp;", "&") for found in re.findall(r'href="(/audit/file\?[^"]+)"', page)]
        assert len(links) == 2
        table = reader.get(next(link for link in links if "csv" in link))
        assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert re.fullmatch(r'attachment; filename="audit-[\d-]+\.csv"', table.headers["Content-Disposition"])
        [row] = csv.DictReader(io.StringIO(table.text))
        assert row["actor"] == "'=HYPERLINK(0)"
        assert row["at"] == datetime.fromtimestamp(clock.now, UTC).isoformat(timespec="milliseconds")
        assert row["federation_id"] == ""
        assert json.loads(row["facts"]) == {"name": "+1", "shown": False}
        lines = reader.get(next(link for link in links if "jsonl" in link)).text.splitlines()
        [told] = map(json.loads, lines)
        assert (told["actor"], told["facts"]["name"], told["action"]) == ("=HYPERLINK(0)", "+1", "run paused")

    def test_all_of_a_long_log_comes_newest_first(
        self, site: Site, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit, "BATCH", 7)
        site.account("boss")
        for number in range(30):
            federations.create(store, f"f{number}")
        lines = site.reader("boss").get("/audit/file?kind=jsonl").text.splitlines()
        numbers = [json.loads(line)["number"] for line in lines]
        assert numbers == list(range(audit.verify(store).entries, 0, -1))

    def test_a_federations_administrator_gets_its_part_alone(self, site: Site, store: Store) -> None:
        site.account("ada", "administrator")
        site.account("cora", "coordinator")
        other = federations.create(store, "other")
        ada, cora = site.reader("ada"), site.reader("cora")
        rows = [json.loads(line) for line in ada.get(f"/audit/{site.federation_id}/file").text.splitlines()]
        assert rows
        assert {row["federation_id"] for row in rows} == {site.federation_id}
        assert ada.get("/audit/file").status_code == 403
        assert ada.get(f"/audit/{other}/file").status_code == 404
        assert cora.get(f"/audit/{site.federation_id}/file").status_code == 403

    def test_a_file_of_another_kind_is_none(self, site: Site, store: Store) -> None:
        site.account("boss")
        answer = site.reader("boss").get("/audit/file?kind=xlsx")
        assert answer.status_code == 404
        assert "There is no such file of the audit log." in answer.text
        assert audit.listed(store, action="log downloaded", before=audit.NEWEST, limit=9) == []

    def test_a_filter_that_finds_nothing_is_not_told_of_a_download(self, site: Site) -> None:
        site.account("boss")
        reader = site.reader("boss")
        reader.get("/audit/file?kind=csv&what=closed&actor=cora")
        said = log(reader, "/audit?what=log+downloaded")
        assert "by whom: cora" in said
        assert "only:" not in said

    def test_a_download_is_an_entry_with_what_was_asked_for(self, site: Site, store: Store) -> None:
        site.account("ada", "administrator")
        ada, file = site.reader("ada"), f"/audit/{site.federation_id}/file"
        asked = "kind=csv&what=role+changed&actor=cora&since=2026-01-01&until=yesterday"
        assert ada.client.head(f"{file}?{asked}").status_code == 200
        ada.get(f"{file}?{asked}")
        [entry] = audit.listed(store, action="log downloaded", before=audit.NEWEST, limit=9)
        assert (entry.actor, entry.federation_id) == ("ada", site.federation_id)
        assert entry.facts == {"format": "csv", "what": "role changed", "actor": "cora", "since": "2026-01-01"}
        said = log(ada, f"/audit/{site.federation_id}")
        assert "downloaded the audit log" in said
        assert "format: CSV" in said
        assert "only: changed a role" in said


class TestPrograms:
    def test_entries_and_events_are_dated(
        self, coordinator: Api, setting: Setting, clock: Clock, federation_id: str
    ) -> None:
        clock.now += 5
        now = datetime.fromtimestamp(clock.now - 5, UTC).isoformat(timespec="milliseconds")
        [newest] = coordinator("GET", "/api/v1/audit?limit=1").get_json()["items"]
        assert (newest["at"], newest["age_s"]) == (now, 5.0)
        [event, *_] = coordinator("GET", f"/api/v1/federations/{federation_id}/events").get_json()["items"]
        assert event["at"] == now

    def test_a_program_asks_for_a_thing_and_a_span(self, coordinator: Api, setting: Setting, clock: Clock) -> None:
        runs.pause(setting.store, setting.run)
        begun = clock.now
        clock.now += 60
        runs.resume(setting.store, setting.run)
        asked = f"/api/v1/audit?object_id={setting.run}"
        items = coordinator("GET", f"{asked}&since={begun + 1}").get_json()["items"]
        assert [each["action"] for each in items] == ["run resumed"]
        items = coordinator("GET", f"{asked}&until={begun + 1}&action=run+paused").get_json()["items"]
        assert [each["facts"] for each in items] == [{"name": "test"}]


class TestBroken:
    def test_a_log_that_was_altered_waits_for_the_servers_administrators(self, site: Site, store: Store) -> None:
        site.account("boss")
        site.account("ada", "administrator")
        boss, ada = site.reader("boss"), site.reader("ada")
        audit_looks.last(store, anew=True)
        _look(store)
        assert "Nothing waits for you" in log(boss, "/")
        with store.begin() as session:
            session.execute(update(AuditEntry).where(AuditEntry.number == 2).values(actor="Mallory"))
        audit_looks.last(store, anew=True)
        _look(store)
        page = boss.get("/").text
        assert "1 thing waits for you" in text_of(page)
        assert "Audit log this server · is not as it was written Entry 2 was altered" in text_of(page)
        assert 'href="/audit">Audit log' in page
        assert "Audit log this server" not in log(ada, "/")

    def test_it_is_a_figure_that_an_alert_asks_for(self, coordinator: Api, store: Store) -> None:
        def told() -> list[str]:
            lines = coordinator("GET", "/metrics").text.splitlines()
            return [line for line in lines if line.startswith("fedflow_audit_faults")]

        assert told() == [], "nobody has looked"
        audit_looks.last(store, anew=True)
        _look(store)
        assert told() == ["fedflow_audit_faults 0.0"]
        invitations.make(store, SERVER, None, None, is_admin=True)
        with store.begin() as session:
            session.execute(update(AuditEntry).where(AuditEntry.number == 2).values(actor="Mallory"))
        audit_looks.last(store, anew=True)
        _look(store)
        assert told() == ["fedflow_audit_faults 1.0"]


def test_a_withdrawn_invitation_says_whose_it_was(store: Store, federation_id: str) -> None:
    invitations.make(store, SERVER, federation_id, "viewer", email="vera@example.org")
    [line] = invitations.listed(store, federation_id)
    invitations.withdraw(store, SERVER, line.id, federation_id)
    [entry] = audit.listed(store, action="invitation withdrawn", before=audit.NEWEST, limit=1)
    assert (entry.facts["role"], entry.facts["email"]) == ("viewer", "vera@example.org")


def test_members_are_led_to(site: Site, setting: Setting) -> None:
    site.account("ada", "administrator")
    [member, *_] = federations.members(site.store, site.federation_id)
    members.set_cap(site.store, member.id, 7)
    page = site.reader("ada").get(f"/audit/{site.federation_id}").text
    assert f'<a href="/members/{member.id}">{member.name}</a>' in page
    assert '<a href="/members/' in page[page.index("joined with a device") :], "a device's is its member's"
