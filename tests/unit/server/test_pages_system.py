"""The system page: versions, queue, what was given up, processes, disk, database, settings without secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from statements import counted
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import told
from tests.unit.server.run_setting import Setting

import fedflow
from fedflow.server import keys
from fedflow.server.database import schema
from fedflow.server.database.tables import Artifact, Import, Job, Version
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.pages.system import in_force
from fedflow.server.services import jobs, processes, system
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


def given_up(setting: Setting, kind: str, round_number: int = 1) -> str:
    """A job of this kind that ended in an error for good."""
    store = setting.store
    with store.begin() as session:
        job_id = jobs.add(session, kind, setting.run, round_number, store.clock(), "a").id
    assert jobs.claim(store, job_id, "here-1") is not None
    assert jobs.fail(store, job_id, "here-1", "<b>no</b> memory is left", give_up=True)
    return job_id


class TestPages:
    """The page on one database; the services below on both."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> ServerSettings:
        return ServerSettings(folder=tmp_path / "data")

    @pytest.fixture
    def site(self, app: Flask, store: Store) -> Site:
        site = Site.of(app, store)
        site.account("boss")
        return site

    def test_it_says_how_the_server_is(self, site: Site, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
        store = site.store
        assert setting.run
        boss = site.reader("boss")
        page = told(boss.get("/system"))
        assert f"FedFlow {fedflow.__version__}" in page
        assert "“Worker: rounds” is not running, so its jobs wait." in page
        assert re.search(r"SQLite 3\.\d+\.\d+", page)
        assert re.search(r"Answers in \d+(\.\d+)? ms", page)
        with store.read() as session:
            assert f"Schema {schema.version(session.connection())}" in page
        assert "fedflow server --folder" in page
        assert "FEDFLOW_SERVER_KEY is not in it" not in page
        monkeypatch.setenv(keys.VARIABLE, (store.folder / keys.FILE).read_text())
        assert "FEDFLOW_SERVER_KEY is not in it" in told(boss.get("/system"))
        assert "No jobs are waiting or running." in page
        processes.seen(store, "here-7", "rounds", "0.1.0")
        with store.begin() as session:
            jobs.add(session, "chart", setting.run, 1, store.clock() - 90)
        page = told(boss.get("/system"))
        assert "here-7 Running Worker: rounds 0.1.0" in page
        assert "“Worker: rounds” is not running" not in page
        assert "Draw charts 1 0 1 min 30 sec" in page.replace("\N{NO-BREAK SPACE}", " ")

    def test_what_was_given_up_is_tried_again(self, site: Site, setting: Setting) -> None:
        job_id, needed = given_up(setting, "evaluate"), given_up(setting, "aggregate")
        boss = site.reader("boss")
        page = boss.get("/system")
        assert "&lt;b&gt;no&lt;/b&gt; memory is left" in page.text
        assert "0 waiting, 0 running, 2 failed" in told(page)
        assert "Go to the run" in told(page)
        assert boss.post(f"/system/jobs/{job_id}/try-again").status_code == 303
        assert "1 waiting, 0 running, 1 failed" in told(boss.get("/system"))
        boss.post(f"/system/jobs/{needed}/try-again")
        assert "A run waits for this job. Resume the run on its page." in told(boss.get("/system"))
        assert "tried a job of the server again" in told(boss.get("/audit"))

    def test_it_is_for_administrators_of_the_server(self, site: Site, setting: Setting) -> None:
        site.account("ada", "administrator")
        ada = site.reader("ada")
        assert "System" not in told(ada.get("/"))
        assert ada.get("/system").status_code == 403
        assert ada.post(f"/system/jobs/{given_up(setting, 'evaluate')}/try-again").status_code == 403
        assert site.reader().get("/system").headers["Location"] == "/sign-in?next=/system"
        assert "System" in told(site.reader("boss").get("/"))


def test_processes_come_go_and_are_forgotten(store: Store, clock: object) -> None:
    processes.seen(store, "here-1", "rounds", "1")
    processes.seen(store, "here-2", "evaluation", "1")
    clock.now += processes.GONE_S + 1  # type: ignore[attr-defined]
    processes.seen(store, "here-2", "evaluation", "1")
    assert [(each.name, each.is_gone) for each in processes.listed(store)] == [("here-2", False), ("here-1", True)]
    processes.seen(store, "here-1", "evaluation", "2")
    again = next(each for each in processes.listed(store) if each.name == "here-1")
    assert (again.pool, again.version, again.is_gone) == ("evaluation", "2", False), (
        "its number is another process's now"
    )
    assert [each.is_served for each in processes.listed(store)] == [True, True]
    clock.now += processes.REPLACED_S + 1  # type: ignore[attr-defined]
    processes.seen(store, "here-1", "evaluation", "2")
    processes.seen(store, "here-4", "rounds", "2")
    clock.now += processes.REPLACED_S + 1  # type: ignore[attr-defined]
    processes.seen(store, "here-1", "evaluation", "2")
    left = [(each.name, each.is_gone, each.is_served) for each in processes.listed(store)]
    assert left == [("here-1", False, True), ("here-4", True, False)], "the one that nobody replaces, and no other"
    clock.now += processes.FORGOTTEN_S + 1  # type: ignore[attr-defined]
    processes.seen(store, "here-3", "rounds", "1")
    processes.ended(store, "nobody")
    assert [each.name for each in processes.listed(store)] == ["here-3"]
    processes.ended(store, "here-3")
    assert processes.listed(store) == []


def test_what_was_given_up_is_called_by_its_name(store: Store, federation_id: str) -> None:
    with store.begin() as session:
        made = Import(id=new_id(), federation_id=federation_id, kind="adapter", name="Foxes", source="upload")
        made.place, made.phase, made.created_at = "foxes.safetensors", "failed", 1.0
        model = Artifact(id=new_id(), federation_id=federation_id, kind="model", name="Wolves", created_at=1.0)
        version = Version(id=new_id(), artifact_id=model.id, number=1, content="c", facts={}, files={}, created_at=1.0)
        session.add_all((made, model))
        session.flush()
        session.add(version)
        for kind, subject in (("import", made.id), ("download", f"{version.id} merged"), ("tryout", f"{new_id()} 1")):
            jobs.add_alone(session, kind, subject, store.clock()).status = jobs.FAILED
    assert [(line.kind, line.subject) for line in reversed(jobs.given_up(store))] == [
        ("import", "Foxes"),
        ("download", "Wolves"),
        ("tryout", ""),
    ]


def test_a_job_is_tried_again_from_its_beginning(setting: Setting) -> None:
    store = setting.store
    job_id = given_up(setting, "evaluate")
    [line] = jobs.given_up(store)
    assert (line.kind, line.run, line.subject, line.may_be_tried) == ("evaluate", "test", "a", True)
    jobs.try_again(store, job_id, SERVER)
    assert job_id in jobs.waiting(store, ["evaluate"])
    with store.read() as session:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
    assert (job.attempts, job.errors, job.error) == (0, 0, None)
    with pytest.raises(Conflict, match="was not given up"):
        jobs.try_again(store, job_id, SERVER)
    with pytest.raises(Conflict, match="a run waits for this job"):
        jobs.try_again(store, given_up(setting, "aggregate"), SERVER)
    with pytest.raises(NotFound):
        jobs.try_again(store, "nothing", SERVER)


def test_the_page_takes_as_many_queries_whatever_there_is(setting: Setting) -> None:
    store = setting.store

    def looked() -> int:
        with counted(store._reading) as sent:
            system.system(store)
            jobs.given_up(store)
            processes.listed(store)
        return len(sent)

    given_up(setting, "evaluate")
    few = looked()
    for number in range(2, 6):
        given_up(setting, "evaluate", number)
        processes.seen(store, f"here-{number}", "rounds", "1")
    assert looked() == few


def test_settings_are_told_without_secrets(tmp_path: Path) -> None:
    given = ServerSettings(
        folder=tmp_path,
        database_url="postgresql+psycopg://ann:hunter2@db/fedflow?sslpassword=hunter2",
        queue_url="redis://:hunter2@queue:6379/1",
        oidc_issuer="https://login.example",
        oidc_client_id="fedflow",
        oidc_client_secret="hunter2",  # noqa: S106 - a test's
        public_url="https://fedflow.example",
    )
    shown = {name: value for name, value, _ in in_force_of(given)}
    assert shown["cache_bytes"] == "20,000 MB"
    assert (shown["code_ttl_s"], shown["hub_imports"]) == ("7 days", "no")
    assert "hunter2" not in str(shown)
    assert shown["database_url"] == "postgresql+psycopg://ann:***@db/fedflow?sslpassword=hidden"
    assert shown["oidc_client_secret"] == "set, not shown"  # noqa: S105 - what is said of one
    assert (shown["port"], shown["public_url"]) == ("8440", "https://fedflow.example")
    assert shown.keys() == ServerSettings.model_fields.keys()


def in_force_of(settings: ServerSettings) -> list[tuple[str, str, str]]:
    """As a request sees them, in English."""
    app = Flask("words")
    with app.app_context():
        from flask_babel import Babel  # noqa: PLC0415

        Babel(app)
        with app.test_request_context():
            return in_force(settings)
