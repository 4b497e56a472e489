"""Rounds driven from the database: deadlines, quorums, late and double answers, refusals, leases, reasons."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.server.run_setting import DEADLINE_S, MEMBERS, Setting, adapter, plan_of, start

from fedflow.federation.protocol import Told, UpdateRequest
from fedflow.processes import is_alive
from fedflow.server.database.tables import Event, Job, Receipt, Refusal, Run, RunMember
from fedflow.server.errors import ApiError, Conflict, Forbidden, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import (
    commits,
    devices,
    explain,
    federations,
    files,
    jobs,
    members,
    refusals,
    run_facts,
    run_view,
    runs,
    updates,
)
from fedflow.server.services.identity import Caller, authenticate
from fedflow.server.services.imports import Allowed
from fedflow.server.services.uploads import TooMany
from fedflow.server.services.work import work_for
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import place_of
from fedflow.server.worker.tasks import TASKS


def test_a_run_goes_through_its_rounds_and_ends(setting: Setting) -> None:
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            work = setting.work(member)
            assert (work.action, work.round) == ("train", number)
            assert len(work.residuals) == number - 1
            setting.hand_in(member, number, adapter(10 * number + seed))
        assert setting.work("a").action == "wait"
        setting.aggregate()
    assert setting.status() == "done"
    assert "its joint model is being written" in setting.work("b").text
    setting.aggregate()
    finished = setting.work("b")
    assert finished.action == "finished"
    joint = run_facts.facts(setting.store, setting.callers["a"], setting.run).files
    assert set(joint) == {"diffusers", "kohya"}
    for digest in joint.values():
        assert files.path_for(setting.store, setting.callers["c"], digest).is_file()


def test_the_same_answer_twice_counts_once_and_another_one_is_refused(setting: Setting) -> None:
    assert not setting.hand_in("a", 1, adapter(1))
    assert setting.hand_in("a", 1, adapter(1))
    with pytest.raises(Conflict, match="answered round 1 already"):
        setting.hand_in("a", 1, adapter(2))
    with setting.store.read() as session:
        assert session.query(Receipt).count() == 1


def test_who_holds_its_own_upload_holds_up_nobody_else(setting: Setting) -> None:
    content = adapter(1)
    upload = setting.upload("a", content)
    request = UpdateRequest(upload_id=upload, sha256=hashlib.sha256(content).hexdigest(), num_examples=10, metrics={})
    with (setting.store.folder / "uploads" / upload).open("rb") as held, ThreadPoolExecutor(4) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a request does that sends no byte
        waiting = [
            pool.submit(updates.hand_in, setting.store, setting.callers["a"], setting.run, 1, request) for _ in range(3)
        ]
        setting.hand_in("b", 1, adapter(2))
        assert not any(each.done() for each in waiting)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert sorted(each.result().again for each in waiting) == [False, True, True]


@pytest.mark.parametrize(("number", "message"), [(2, "round 1 is collecting"), (7, "round 1 is collecting")])
def test_another_rounds_answer_changes_nothing(setting: Setting, number: int, message: str) -> None:
    with pytest.raises(Conflict, match=message):
        setting.hand_in("a", number, adapter(1))
    assert setting.work("a").action == "train"


def test_an_answer_for_an_unknown_run_is_refused(setting: Setting) -> None:
    with pytest.raises(NotFound):
        setting.hand_in("a", 1, adapter(1), run="0" * 36)


def test_a_late_answer_changes_nothing_but_says_so(setting: Setting, clock: Any) -> None:
    for seed, member in enumerate(MEMBERS[:2]):
        setting.hand_in(member, 1, adapter(seed + 1))
    clock.now += DEADLINE_S + 1
    commits.tick(setting.store)
    with pytest.raises(Conflict, match="round 1 is aggregating"):
        setting.hand_in("c", 1, adapter(3))
    setting.aggregate()
    with pytest.raises(Conflict, match="round 2 is collecting"):
        setting.hand_in("c", 1, adapter(3))
    assert setting.work("c").round == 2


def test_without_a_quorum_the_deadline_moves(setting: Setting, clock: Any) -> None:
    setting.hand_in("a", 1, adapter(1))
    clock.now += DEADLINE_S + 1
    commits.tick(setting.store)
    left = setting.work("b").deadline_in_s
    assert left is not None
    assert math.isclose(left, DEADLINE_S)
    setting.hand_in("b", 1, adapter(2))
    commits.tick(setting.store)
    assert setting.work("c").action == "train"


def test_grace_takes_answers_after_the_deadline(
    store: Store, federation_id: str, callers: dict[str, Caller], clock: Any
) -> None:
    network = {"deadline_s": DEADLINE_S, "quorum": 2, "grace_s": 50.0}
    setting = start(store, federation_id, callers, plan_of(network=network))
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    clock.now += DEADLINE_S + 10
    commits.tick(store)
    assert setting.work("c").action == "train"
    clock.now += 50
    commits.tick(store)
    assert setting.work("c").action == "wait"


@pytest.mark.parametrize("examples", [0, -1, 2**63, 10**18, 51, 2.5])
def test_a_forged_example_count_is_kept_aside_with_its_reason(setting: Setting, examples: float) -> None:
    with pytest.raises(Unprocessable, match="example count"):
        setting.hand_in("a", 1, adapter(1), examples)
    with setting.store.read() as session:
        assert session.query(Refusal).one().reason.startswith("the example count")
        assert session.query(Receipt).count() == 0
    assert aside(setting, "a", adapter(1)).is_file()


def test_a_scaled_update_is_refused(setting: Setting) -> None:
    with pytest.raises(Unprocessable, match="norm is"):
        setting.hand_in("a", 1, adapter(1, size=1e6))
    assert not setting.hand_in("a", 1, adapter(1))


def test_without_consent_nothing_is_taken(store: Store, federation_id: str, callers: dict[str, Caller]) -> None:
    setting = start(store, federation_id, callers, plan_of())
    runs.consent(store, callers["b"], setting.run, accept=False, num_examples=1, reason="not now")
    with pytest.raises(Forbidden, match="has not consented"):
        setting.hand_in("b", 1, adapter(1))
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("c", 1, adapter(2))
    assert setting.work("a").text.endswith("is being aggregated")


def test_a_paused_run_gives_its_round_the_time_back(setting: Setting, clock: Any) -> None:
    clock.now += 60
    runs.pause(setting.store, setting.run)
    assert setting.work("a").action == "wait"
    clock.now += 1000
    commits.tick(setting.store)
    runs.resume(setting.store, setting.run)
    left = setting.work("a").deadline_in_s
    assert left is not None
    assert math.isclose(left, DEADLINE_S - 60)


def test_who_has_more_pictures_than_it_may_claim_learns_it_before_it_trains(
    setting: Setting, store: Store, federation_id: str
) -> None:
    decline(setting, "c")
    runs.ask_again(store, setting.run, "c")
    caller = setting.callers["c"]
    with pytest.raises(Conflict, match="at most 50 pictures and has 51; ask the coordinator"):
        runs.consent(store, caller, setting.run, accept=True, num_examples=51, reason="")
    assert setting.work("c").action == "consent"
    told = explain.explain(store, setting.run)
    assert "c (last seen 0 s ago; it has 51 pictures and may train on 50: allow it more" in told
    assert "'fedflow server code c --max-examples 51'" in told
    assert caller.member_id is not None
    members.set_cap(store, caller.member_id, 51)
    runs.consent(store, caller, setting.run, accept=True, num_examples=51, reason="")
    assert setting.work("c").action == "train"


def test_who_waits_long_asks_more_seldom(setting: Setting, clock: Any) -> None:
    clock.now += 50
    setting.hand_in("a", 1, adapter(1))
    polls = []
    for waited_s in (0, 6, 24, 30, 540):  # as long as it trains, it waits for c
        clock.now += waited_s
        polls.append(setting.work("a").poll_after_s)
    assert polls == [0.2, 0.2, 0.5, 1.0, 5.0]
    setting.hand_in("b", 1, adapter(2))
    setting.hand_in("c", 1, adapter(3))
    assert setting.work("a").text == "round 1 of run 'test' is being aggregated"
    assert setting.work("a").poll_after_s == 0.2
    clock.now += 90
    assert setting.work("a").poll_after_s == 1.5


def test_a_run_of_a_base_model_that_can_be_nowhere_is_not_begun(
    setting: Setting, federation_id: str, tmp_path: Path
) -> None:
    def begin(model: object) -> str:
        allowed = Allowed(None, hub=True)
        return runs.create(setting.store, federation_id, plan_of(model=str(model)), allowed=allowed)

    for nowhere in ("nonexistent", tmp_path / "nothing", "models/none.safetensors", "~nobody-here/model", "a/b/c"):
        with pytest.raises(Unprocessable, match="is no folder or file on the server's machine, and no hub name"):
            begin(nowhere)
    for model in ("starter", tmp_path, "owner/name"):
        begin(model)


CORA = Caller("person", "cora", name="cora")
BOSS = Caller("person", "boss", name="boss", is_admin=True)


@pytest.fixture
def imports_folder(tmp_path: Path) -> Path:
    """A server's folder of imports with a model in it, and links out of it; a file lies beside."""
    folder = tmp_path / "imports"
    (folder / "model").mkdir(parents=True)
    (tmp_path / "secret.safetensors").write_bytes(b"weights")
    (folder / "out").symlink_to(tmp_path)
    (folder / "within").symlink_to(folder / "model")
    return folder


def test_a_coordinator_has_no_model_opened_but_one_in_the_folder_of_imports(
    setting: Setting, federation_id: str, imports_folder: Path, tmp_path: Path
) -> None:
    def begin(model: object, by: Caller, folder: Path | None = imports_folder) -> str:
        allowed = Allowed(folder, hub=False)
        run_id = runs.create(setting.store, federation_id, plan_of(model=str(model)), by=by, allowed=allowed)
        return runs.plan(setting.store, run_id).model

    secret = tmp_path / "secret.safetensors"
    elsewhere = (secret, "/etc/shadow", "/etc", "/etc/nonesuch", "~", "../x", "x\0", "a/b/c", "")
    inside = ("out/secret.safetensors", "out", "../secret.safetensors", "model/../../imports/model", "nothing", ".")
    said = set()
    for model in (*elsewhere, *(imports_folder.as_posix() + f"/{each}" for each in inside)):
        with pytest.raises(Unprocessable) as refused:
            begin(model, CORA)
        said.add(str(refused.value))
    with pytest.raises(Unprocessable) as refused:
        begin(imports_folder / "model", CORA, folder=None)
    assert len(said | {str(refused.value)}) == 1, "no answer tells what is there"
    for given in ("model", "within"):
        assert begin(imports_folder / given, CORA) == str(imports_folder / "model"), "links are followed for good"
    assert begin("starter", CORA) == "starter"
    assert begin(secret, BOSS) == str(secret)


def test_the_hub_is_asked_only_where_the_server_is_set_so_and_for_no_folder_of_a_like_name(
    setting: Setting, federation_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def begin(by: Caller, hub: bool, model: str = "owner/name") -> str:
        allowed = Allowed(None, hub=hub)
        return runs.create(setting.store, federation_id, plan_of(model=model), by=by, allowed=allowed)

    for by, model in ((CORA, "owner/name"), (CORA, "other/name"), (BOSS, "other/name")):
        with pytest.raises(Unprocessable, match="this server takes none from the model hub"):
            begin(by, hub=False, model=model)
    assert place_of(setting.store, begin(CORA, hub=True)) == "hub:owner/name"
    assert place_of(setting.store, begin(BOSS, hub=False)) == str(tmp_path / "owner" / "name")
    with pytest.raises(Unprocessable):
        begin(CORA, hub=True, model="../owner")


@pytest.mark.parametrize("hub", [False, True])
def test_a_worker_asks_the_hub_only_where_the_server_is_set_so(hub: bool) -> None:
    script = (
        "from pathlib import Path; from fedflow.server.settings import ServerSettings; "
        "from fedflow.server.worker.main import ROUNDS, keep_off_the_hub; "
        f"keep_off_the_hub(ServerSettings(folder=Path(), hub_imports={hub})); "
        "ROUNDS.task('prepare'); import huggingface_hub; "
        "print(huggingface_hub.constants.is_offline_mode())"
    )
    free = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    told = subprocess.run([sys.executable, "-c", script], env=free, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(not hub)


def test_a_stopped_run_stays_stopped(setting: Setting) -> None:
    runs.stop(setting.store, setting.run)
    with pytest.raises(Conflict, match="stopped and cannot become running"):
        runs.resume(setting.store, setting.run)
    with pytest.raises(Conflict, match="takes no updates"):
        setting.hand_in("a", 1, adapter(1))


def test_a_run_that_is_prepared_is_not_resumed_and_begins(setting: Setting) -> None:
    store = setting.store
    federation_id = setting.callers["a"].federation_id
    assert federation_id is not None
    run_id = runs.create(store, federation_id, plan_of(name="another"))
    with pytest.raises(Conflict, match="is being prepared and begins by itself"):
        runs.resume(store, run_id)
    runs.fail(store, run_id, "the base model is away")
    runs.resume(store, run_id)
    with pytest.raises(Conflict, match="is being prepared"):
        runs.resume(store, run_id)
    with store.read() as session:
        assert session.get_one(Run, run_id).status == "preparing", "its round is still to be opened"


def test_a_worker_that_dies_between_a_job_and_its_run_leaves_no_run_that_waits_for_ever(setting: Setting) -> None:
    store = setting.store
    for number, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(number + 1))
    [job_id] = jobs.waiting(store, ("aggregate",))
    assert jobs.claim(store, job_id, "w") is not None
    assert jobs.fail(store, job_id, "w", "the disk is full", give_up=True)  # and here it dies
    runs.fail_left_behind(store)
    with store.read() as session:
        run = session.get_one(Run, setting.run)
        assert (run.status, run.message) == ("failed", "the disk is full")
    runs.resume(store, setting.run)
    runs.fail_left_behind(store)
    assert jobs.waiting(store, ("aggregate",)) == [job_id], "resumed, it is tried again"
    setting.aggregate()
    runs.fail_left_behind(store)
    with store.read() as session:
        assert session.get_one(Run, setting.run).status == "running"


def test_close_round_needs_an_update(setting: Setting) -> None:
    for seed, member in enumerate("ab"):
        with pytest.raises(Conflict, match="fewer than 2 are never joined"):
            runs.close_round(setting.store, setting.run)
        setting.hand_in(member, 1, adapter(seed))
    runs.close_round(setting.store, setting.run)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_close_round_closes_the_round_that_was_seen(setting: Setting) -> None:
    for seed, member in enumerate("ab"):
        setting.hand_in(member, 1, adapter(seed))
    with pytest.raises(Conflict, match="round 2 is not under way, round 1 is"):
        runs.close_round(setting.store, setting.run, seen=2)
    runs.close_round(setting.store, setting.run, seen=1)
    setting.aggregate()
    for seed, member in enumerate("ab"):
        setting.hand_in(member, 2, adapter(seed))
    with pytest.raises(Conflict, match="round 1 is not under way, round 2 is; look at that one"):
        runs.close_round(setting.store, setting.run, seen=1)
    assert setting.work("c").round == 2


def test_an_aggregation_done_twice_commits_once(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    with setting.store.read() as session:
        job = session.get_one(Job, job_id)
    TASKS[job.kind](setting.store, ServerSettings(folder=setting.store.folder), job)
    after = setting.work("a")
    TASKS[job.kind](setting.store, ServerSettings(folder=setting.store.folder), job)
    assert setting.work("a") == after


def test_a_dead_workers_job_is_taken_up_when_its_lease_has_ended(setting: Setting, clock: Any) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    assert jobs.claim(setting.store, job_id, "first") is not None
    assert jobs.claim(setting.store, job_id, "second") is None
    assert jobs.waiting(setting.store, jobs.ROUNDS) == []
    clock.now += jobs.LEASE_S + 1
    assert jobs.waiting(setting.store, jobs.ROUNDS) == [job_id]
    assert jobs.claim(setting.store, job_id, "second") is not None
    assert not jobs.renew(setting.store, job_id, "first")


def test_a_dead_workers_job_on_the_same_machine_waits_for_no_lease(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    for worker, waits in ((f"here-{os.getpid()}", True), (f"there-{dead.pid}", True), (f"here-{dead.pid}", False)):
        with setting.store.begin() as session:
            session.get_one(Job, job_id).status = jobs.QUEUED
        assert jobs.claim(setting.store, job_id, worker) is not None
        jobs.release(setting.store, "here", is_alive)
        assert jobs.waiting(setting.store, jobs.ROUNDS) == ([] if waits else [job_id])


def test_a_job_that_keeps_failing_fails_the_run_and_resume_tries_again(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    blob = setting.store.blobs.place(hashlib.sha256(adapter(1)).hexdigest())
    kept = blob.read_bytes()
    blob.unlink()
    for _ in range(jobs.MOST_ERRORS):
        setting.aggregate()
    assert setting.status() == "failed"
    assert "blob is missing" in explain.explain(setting.store, setting.run)
    blob.write_bytes(kept)
    runs.resume(setting.store, setting.run)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_explain_names_whom_it_waits_for_and_until_when(setting: Setting, clock: Any) -> None:
    setting.hand_in("a", 1, adapter(1))
    clock.now += 40
    told = explain.explain(setting.store, setting.run)
    assert "1 of 3 updates are in" in told
    assert "It waits for b (last seen 40 s ago), c (last seen 40 s ago)." in told
    assert "In 60 s is its deadline" in told
    setting.hand_in("b", 1, adapter(2))
    assert "closes without those who have not answered" in explain.explain(setting.store, setting.run)


def test_explain_says_what_was_refused_and_whom_a_paused_run_waits_for(setting: Setting, clock: Any) -> None:
    with pytest.raises(Unprocessable):
        setting.hand_in("a", 1, adapter(1, size=1e6))
    setting.hand_in("b", 1, adapter(2))
    told = explain.explain(setting.store, setting.run)
    assert "1 of 3 updates are in. It waits for a (last seen" in told
    assert "its update was refused: " in told
    runs.pause(setting.store, setting.run)
    clock.now += 300
    told = explain.explain(setting.store, setting.run)
    assert "was paused by its coordinator 5 min ago, in round 1: 1 of 3 updates are in. It waits for a (" in told


def test_a_round_that_becomes_complete_in_a_pause_closes_when_it_goes_on(setting: Setting) -> None:
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    runs.pause(setting.store, setting.run)
    setting.hand_in("c", 1, adapter(3))
    assert "3 of 3 updates are in." in explain.explain(setting.store, setting.run)
    runs.resume(setting.store, setting.run)
    setting.aggregate()
    assert setting.work("a").round == 2


@pytest.mark.parametrize("stands", ["paused", "failed"])
@pytest.mark.parametrize("leaves", ["declines", "is removed"])
def test_who_leaves_while_a_run_stands_still_is_waited_for_no_more(setting: Setting, stands: str, leaves: str) -> None:
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    if stands == "paused":
        runs.pause(setting.store, setting.run)
    else:
        runs.fail(setting.store, setting.run, "the base model cannot be read")
    if leaves == "declines":
        decline(setting, "c")
    else:
        member_id = setting.callers["c"].member_id
        assert member_id is not None
        federations.remove_member(setting.store, member_id)
    runs.resume(setting.store, setting.run)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_the_last_round_is_committed_in_a_pause(setting: Setting) -> None:
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed))
        if number == 2:
            runs.pause(setting.store, setting.run)
        setting.aggregate()
    assert setting.status() == "done"
    assert explain.explain(setting.store, setting.run) == "Run 'test' is done: all 2 rounds are committed."
    with setting.store.begin() as session:
        session.get_one(Run, setting.run).round = 1
    assert explain.explain(setting.store, setting.run) == "Run 'test' is done: its round is committed."


def test_who_is_let_back_in_is_asked_when_the_run_goes_on(
    store: Store, federation_id: str, callers: dict[str, Caller], new_machine: Callable[[], Any]
) -> None:
    two = {"a": callers["a"], "b": callers["b"]}
    setting = start(store, federation_id, two, plan_of(data={"clients": ("a", "b")}, network={}))
    setting.hand_in("a", 1, adapter(1))
    member_id = two["b"].member_id
    assert member_id is not None
    federations.remove_member(store, member_id)
    assert setting.status() == "failed"
    machine = new_machine()
    machine.join(devices.new_code(store, federation_id, "b", 50, ttl_s=60))
    two["b"] = authenticate(store, machine.token())
    runs.resume(store, setting.run)
    assert setting.work("b").action == "train"
    setting.hand_in("b", 1, adapter(2))
    setting.aggregate()
    assert setting.work("a").round == 2


def test_nobody_is_asked_for_consent_before_there_is_anything_to_tell(
    store: Store, federation_id: str, callers: dict[str, Caller]
) -> None:
    run = runs.create(store, federation_id, plan_of())
    runs.fail(store, run, "the base model cannot be read")
    work = work_for(store, callers["a"])
    assert (work.action, "has failed: the base model cannot be read" in work.text) == ("wait", True)


def test_a_run_that_failed_asks_nobody_for_consent_until_it_is_resumed(
    setting: Setting, store: Store, callers: dict[str, Caller]
) -> None:
    with store.begin() as session:
        session.execute(update(RunMember).where(RunMember.run_id == setting.run).values(consent="asked"))
    assert setting.work("a").action == "consent"
    runs.fail(store, setting.run, "the disk is full")
    assert setting.work("a").action == "wait"
    runs.resume(store, setting.run)
    assert setting.work("a").action == "consent"


def test_the_mean_loss_of_a_round_tells_no_single_members(setting: Setting, store: Store) -> None:
    """Once it is closed, and of three members or more; a loss that is none counts for nothing."""

    def told() -> list[float | None]:
        return [line.loss for line in run_facts.rounds_of(store, setting.callers["a"], setting.run, 0, 10)]

    setting.hand_in("a", 1, adapter(1), 10, metrics={"last_loss": 1.0})
    setting.hand_in("b", 1, adapter(2), 10, metrics={"last_loss": 2.0})
    assert told() == [None]
    setting.hand_in("c", 1, adapter(3), 20, metrics={"last_loss": 4.0})
    assert told() == [2.75]
    setting.aggregate()
    setting.hand_in("a", 2, adapter(4), metrics={"last_loss": 1.0})
    setting.hand_in("b", 2, adapter(5), metrics={"last_loss": 2.0})
    assert told() == [2.75, None]
    setting.hand_in("c", 2, adapter(6), metrics={"last_loss": -4.0})
    assert told() == [2.75, None]


def test_a_commit_heals_a_run_that_another_worker_failed(setting: Setting) -> None:
    for number, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(number))
    runs.fail(setting.store, setting.run, "disk full")
    setting.aggregate()
    assert setting.status() == "running"
    assert setting.work("a").round == 2


def test_a_round_that_opened_in_a_pause_gets_its_own_time(setting: Setting, clock: Any) -> None:
    for number, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(number))
    runs.pause(setting.store, setting.run)
    clock.now += 1000
    setting.aggregate()
    clock.now += 10
    runs.resume(setting.store, setting.run)
    left = setting.work("a").deadline_in_s
    assert left is not None
    assert math.isclose(left, DEADLINE_S)


def test_a_device_that_is_revoked_while_it_hands_in_does_not_count(setting: Setting) -> None:
    devices.revoke(setting.store, setting.callers["a"].id)  # its request had passed the door before
    with pytest.raises(Unauthorised, match="was revoked"):
        setting.hand_in("a", 1, adapter(1))
    assert "0 of 3 updates are in" in explain.explain(setting.store, setting.run)


def test_a_worker_that_comes_late_fails_no_job_that_another_has_done(setting: Setting, clock: Any) -> None:
    for number, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(number))
    [job_id] = jobs.waiting(setting.store, ("aggregate",))
    assert jobs.claim(setting.store, job_id, "slow") is not None
    clock.now += jobs.LEASE_S + 1
    assert jobs.claim(setting.store, job_id, "quick") is not None
    assert not jobs.fail(setting.store, job_id, "slow", "late", give_up=True)
    jobs.finish(setting.store, job_id)
    assert not jobs.fail(setting.store, job_id, "quick", "late", give_up=True)
    with setting.store.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.error) == ("done", None)


def test_a_run_that_is_done_is_told_though_another_was_declined(
    setting: Setting, store: Store, federation_id: str
) -> None:
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed))
        setting.aggregate()
    setting.aggregate()  # the export
    again = start(store, federation_id, setting.callers, plan_of(name="again"))
    runs.consent(store, setting.callers["a"], again.run, accept=False, num_examples=10, reason="")
    work = setting.work("a")
    assert (work.action, work.run) == ("finished", setting.run)
    assert setting.work("b").run == again.run
    facts = run_facts.facts(store, setting.callers["b"], setting.run)
    assert (facts.status, set(facts.files)) == ("done", {"diffusers", "kohya"})


def test_the_same_bytes_of_two_members_are_kept_aside_for_each(setting: Setting) -> None:
    wrong = adapter(1, size=1e6)
    for member in ("a", "b"):
        with pytest.raises(Unprocessable):
            setting.hand_in(member, 1, wrong)
    for seed in range(2, 2 + refusals.KEPT_ASIDE):
        with pytest.raises(Unprocessable):
            setting.hand_in("a", 1, adapter(seed, size=1e6))
    digest = hashlib.sha256(wrong).hexdigest()
    kept = [path for path in (setting.store.folder / "quarantine").iterdir() if digest in path.name]
    assert kept == [aside(setting, "b", wrong)]


def test_explain_says_why_a_participant_holds_back(setting: Setting, clock: Any) -> None:
    work_for(setting.store, setting.callers["a"], (Told("hours", setting.run, 1),))
    clock.now += 10
    work_for(setting.store, setting.callers["b"], (Told("memory", setting.run, 1),))
    told = explain.explain(setting.store, setting.run)
    assert "a (last seen 10 s ago; its owner lets it train at other hours)" in told
    assert "b (last seen 0 s ago; its machine lacks the memory now), c (last seen 10 s ago)." in told
    work_for(setting.store, setting.callers["c"], (Told("consent", setting.run, 1),))
    told = explain.explain(setting.store, setting.run)
    assert "c (last seen 0 s ago; it waits for its owner's consent to this round)." in told
    clock.now += 10
    work_for(setting.store, setting.callers["b"], (Told("training", setting.run, 1),))
    assert "b (last seen 0 s ago; it trains)" in explain.explain(setting.store, setting.run)
    clock.now += 10
    other = (Told("training", another_run(setting), 1),)
    work_for(setting.store, setting.callers["b"], other)
    assert "b (last seen 0 s ago; it trains for another run)" in explain.explain(setting.store, setting.run)


def test_explain_knows_at_once_who_has_called_and_begins_to_train(setting: Setting, clock: Any) -> None:
    clock.now += 10
    setting.work("a")
    clock.now += 1
    setting.work("b")  # not written until somebody calls again
    clock.now += 1
    told = explain.explain(setting.store, setting.run)
    assert "a (last seen 2 s ago; it trains), b (last seen 1 s ago; it trains), c (last seen 12 s ago)" in told
    assert [line.state for line in run_view.view(setting.store, setting.run).participants] == [
        "training",
        "training",
        "waits",
    ]
    federation_id = setting.callers["a"].federation_id
    assert federation_id is not None
    found = federations.members(setting.store, federation_id)
    assert [[device.seen_s_ago for device in each.devices] for each in found] == [[2], [1], [12]]
    setting.hand_in("b", 1, adapter(2))
    setting.work("b")
    assert "It waits for a (last seen 2 s ago; it trains), c (" in explain.explain(setting.store, setting.run)


def test_explain_names_the_way_out_where_a_member_cannot_answer(setting: Setting) -> None:
    work_for(setting.store, setting.callers["a"], (Told("policy", setting.run, 1),))
    told = explain.explain(setting.store, setting.run)
    assert "a will not answer in this round by itself: talk to its owner, or let the run go on without it by" in told
    assert "'fedflow server remove a'." in told
    work_for(setting.store, setting.callers["b"], (Told("policy", setting.run, 1),))
    told = explain.explain(setting.store, setting.run)
    assert "server remove" not in told, "two are never joined of one that is left"
    assert f"talk to its owner, or stop the run by 'fedflow run stop {setting.run}'." in told


def another_run(setting: Setting) -> str:
    """A second run of the same members, in its first round."""
    federation = setting.callers["a"].federation_id
    assert federation is not None
    return start(setting.store, federation, setting.callers, plan_of(name="second")).run


def test_a_run_that_is_held_back_does_not_keep_the_others_waiting(setting: Setting) -> None:
    second = another_run(setting)
    caller = setting.callers["a"]
    assert work_for(setting.store, caller).run == setting.run
    held = Told("policy", setting.run, 1)
    work = work_for(setting.store, caller, (held,))
    assert (work.action, work.run, work.round) == ("train", second, 1)
    work = work_for(setting.store, caller, (held, Told("refused", second, 1)))
    assert (work.action, work.text) == ("wait", "round 1 of run 'test' is held back by this machine")
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    setting.aggregate()
    work = work_for(setting.store, caller, (held, Told("refused", second, 1)))
    assert (work.action, work.run, work.round) == ("train", setting.run, 2), "a new round is a new question"


def test_a_training_is_told_when_it_is_of_no_use_any_more(setting: Setting) -> None:
    second = another_run(setting)
    caller = setting.callers["a"]

    def told(run: str, number: int) -> str | None:
        return work_for(setting.store, caller, (Told("training", run, number),)).unwanted

    at_second = work_for(setting.store, caller, (Told("training", second, 1),))
    assert (at_second.run, at_second.unwanted) == (second, None)
    assert told(setting.run, 1) is None
    runs.pause(setting.store, setting.run)
    assert told(setting.run, 1) is None
    runs.resume(setting.store, setting.run)
    setting.hand_in("a", 1, adapter(1))
    assert told(setting.run, 1) == "another device of 'a' has sent its update for round 1"
    for seed, member in enumerate(MEMBERS[1:]):
        setting.hand_in(member, 1, adapter(seed + 2))
    assert told(setting.run, 1) == "round 1 is over"
    setting.aggregate()
    assert (told(setting.run, 1), told(setting.run, 2)) == ("round 1 is over", None)
    runs.stop(setting.store, setting.run)
    assert told(setting.run, 2) == "the run is stopped"
    runs.consent(setting.store, caller, second, False, 1, "")
    assert told(second, 1) == "the run was declined"


def test_a_round_that_failed_gets_its_whole_time_again(setting: Setting, clock: Any) -> None:
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    runs.fail(setting.store, setting.run, "the base model cannot be read")
    clock.now += 10 * DEADLINE_S
    runs.resume(setting.store, setting.run)
    commits.tick(setting.store)
    assert "2 of 3 updates are in. It waits for c" in explain.explain(setting.store, setting.run)
    assert setting.work("c").deadline_in_s == DEADLINE_S


def aside(setting: Setting, member: str, content: bytes) -> Path:
    """Where a member's refused update is kept."""
    name = f"{setting.callers[member].member_id}-{hashlib.sha256(content).hexdigest()}"
    return setting.store.folder / "quarantine" / name


def decline(setting: Setting, *members: str) -> None:
    for member in members:
        runs.consent(setting.store, setting.callers[member], setting.run, accept=False, num_examples=10, reason="")


def test_a_round_goes_on_without_one_who_declines_and_never_with_one_alone(
    store: Store, federation_id: str, callers: dict[str, Caller]
) -> None:
    setting = start(store, federation_id, callers, plan_of(network={"deadline_s": DEADLINE_S}))
    setting.hand_in("a", 1, adapter(1))
    decline(setting, "b")
    told = explain.explain(store, setting.run)
    assert "1 of 2 updates are in. b has declined. It waits for c" in told
    assert "with 2 updates it closes then" in told
    assert "close-round" not in told
    with pytest.raises(Conflict, match="has 1 update yet, and fewer than 2 are never joined"):
        runs.close_round(store, setting.run)
    decline(setting, "c")
    assert setting.status() == "failed"
    assert "only a is left" in explain.explain(store, setting.run)
    with pytest.raises(Conflict, match="ask them again with 'fedflow run ask-again MEMBER'"):
        runs.resume(store, setting.run)
    assert jobs.waiting(store, jobs.ROUNDS) == []


def test_who_declined_may_be_asked_again(store: Store, federation_id: str, callers: dict[str, Caller]) -> None:
    setting = start(store, federation_id, callers, plan_of(network={"deadline_s": DEADLINE_S}))
    decline(setting, "b", "c")
    assert "you declined run 'test'" in setting.work("b").text
    runs.ask_again(store, setting.run, "b")
    assert setting.status() == "failed"
    runs.resume(store, setting.run)
    assert setting.work("b").action == "consent"
    runs.consent(store, callers["b"], setting.run, accept=True, num_examples=10, reason="")
    for seed, member in enumerate("ab"):
        assert setting.work(member).round == 1
        setting.hand_in(member, 1, adapter(seed))
    setting.aggregate()
    assert setting.work("a").round == 2
    with pytest.raises(NotFound, match="not planned with a member 'z'"):
        runs.ask_again(store, setting.run, "z")


def test_another_is_asked_in_the_place_of_one_who_leaves(
    store: Store, federation_id: str, callers: dict[str, Caller]
) -> None:
    plan = plan_of(clients_per_round=2, network={"deadline_s": DEADLINE_S, "quorum": 2})
    setting = start(store, federation_id, callers, plan)
    asked = [member for member in MEMBERS if setting.work(member).action == "train"]
    (spare,) = set(MEMBERS) - set(asked)
    decline(setting, asked[0])
    assert setting.work(spare).action == "train"
    for seed, member in enumerate((asked[1], spare)):
        setting.hand_in(member, 1, adapter(seed))
    setting.aggregate()
    assert setting.work(spare).round == 2


def test_a_run_that_is_paused_while_its_aggregation_fails_can_be_resumed(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    runs.pause(setting.store, setting.run)
    blob = setting.store.blobs.place(hashlib.sha256(adapter(1)).hexdigest())
    kept = blob.read_bytes()
    blob.unlink()
    for _ in range(jobs.MOST_ERRORS):
        setting.aggregate()
    assert setting.status() == "failed"
    blob.write_bytes(kept)
    runs.resume(setting.store, setting.run)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_a_job_that_workers_were_killed_at_still_has_all_its_tries(setting: Setting, clock: Any) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    for _ in range(jobs.MOST_ERRORS + 2):
        assert jobs.claim(setting.store, job_id, "one that is killed") is not None
        clock.now += jobs.LEASE_S + 1
    assert jobs.claim(setting.store, job_id, "another") is not None
    assert not jobs.fail(setting.store, job_id, "another", "the disk was full for a moment", give_up=False)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_a_job_at_which_every_worker_dies_is_given_up(setting: Setting, clock: Any) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    for _ in range(jobs.MOST_DEATHS):
        assert jobs.claim(setting.store, job_id, "one that dies") is not None
        clock.now += jobs.LEASE_S + 1
    setting.aggregate()
    assert setting.status() == "failed"
    assert "died at it 20 times" in explain.explain(setting.store, setting.run)


def test_consent_to_a_run_that_is_over_is_refused(setting: Setting) -> None:
    runs.stop(setting.store, setting.run)
    with pytest.raises(Conflict, match="nothing left to consent to"):
        runs.consent(setting.store, setting.callers["a"], setting.run, accept=True, num_examples=1, reason="")


def test_a_plan_for_people_who_are_not_there_is_refused(store: Store, federation_id: str) -> None:
    with pytest.raises(Unprocessable, match="'a' is no member"):
        runs.create(store, federation_id, plan_of())
    with pytest.raises(Unprocessable, match="one seed"):
        runs.create(store, federation_id, plan_of(seeds=(1, 2)))


def test_a_run_of_another_federation_is_not_seen(setting: Setting, new_machine: Callable[[], Any]) -> None:
    other = federations.create(setting.store, "other")
    machine = new_machine()
    machine.join(devices.new_code(setting.store, other, "a", 50, ttl_s=3600))
    stranger = authenticate(setting.store, machine.token())
    with pytest.raises(NotFound):
        run_facts.facts(setting.store, stranger, setting.run)
    with pytest.raises(NotFound):
        runs.consent(setting.store, stranger, setting.run, accept=True, num_examples=1, reason="")
    setting.callers["a"] = stranger
    with pytest.raises(ApiError):
        setting.hand_in("a", 1, adapter(1))


def test_paths_of_the_coordinator_are_not_told(setting: Setting) -> None:
    facts = run_facts.facts(setting.store, setting.callers["a"], setting.run)
    assert facts.plan["data"].keys() == {"clients", "trigger"}
    assert str(Path.home()) not in facts.model_dump_json()


def test_the_same_hand_in_many_times_at_once_counts_once(setting: Setting) -> None:
    """As a network that repeats requests makes them."""
    content = adapter(7)
    upload_id, sha256 = setting.upload("a", content), hashlib.sha256(content).hexdigest()
    request = UpdateRequest(upload_id=upload_id, sha256=sha256, num_examples=10)
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(updates.hand_in, setting.store, setting.callers["a"], setting.run, 1, request) for _ in range(8)
        ]
    assert sorted(answer.result().again for answer in sent) == [False] + 7 * [True]
    with setting.store.read() as session:
        assert session.query(Receipt).count() == 1
        assert session.query(Event).where(Event.kind == "update accepted").count() == 1
    assert list((setting.store.folder / "uploads").iterdir()) == []


def test_a_refused_hand_in_that_comes_again_is_refused_with_the_same_words(setting: Setting) -> None:
    content = adapter(7)
    upload_id, sha256 = setting.upload("a", content), hashlib.sha256(content).hexdigest()
    request = UpdateRequest(upload_id=upload_id, sha256=sha256, num_examples=51)

    def hand_in() -> str:
        with pytest.raises(Unprocessable) as error:
            updates.hand_in(setting.store, setting.callers["a"], setting.run, 1, request)
        return str(error.value)

    with ThreadPoolExecutor(4) as pool:
        said = {sent.result() for sent in [pool.submit(hand_in) for _ in range(4)]}
    assert len(said) == 1
    with setting.store.read() as session:
        assert session.query(Refusal).count() == 1


DAY_S = 86_400.0


def test_a_clock_that_jumps_a_day_forwards_ends_the_round_and_one_that_jumps_back_holds_nothing_up(
    setting: Setting, clock: Any
) -> None:
    setting.hand_in("a", 1, adapter(1))
    clock.now -= DAY_S
    commits.tick(setting.store)
    left = setting.work("b").deadline_in_s
    assert left is not None
    assert math.isclose(left, DEADLINE_S), "not a day and its deadline"
    setting.hand_in("b", 1, adapter(2))
    clock.now += 2 * DAY_S
    commits.tick(setting.store)
    assert setting.work("c").action == "wait"
    (job_id,) = jobs.waiting(setting.store, jobs.ROUNDS)
    assert jobs.claim(setting.store, job_id, "dead") is not None
    clock.now -= DAY_S
    assert jobs.waiting(setting.store, jobs.ROUNDS) == [job_id], "a lease of tomorrow's holds nobody up"
    setting.aggregate()
    assert setting.work("c").round == 2


def test_a_member_that_is_removed_in_the_middle_of_a_round_is_not_waited_for(setting: Setting) -> None:
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    for caller in (setting.callers["c"], setting.callers["a"]):
        assert caller.member_id is not None
        federations.remove_member(setting.store, caller.member_id)
    setting.aggregate()
    assert setting.work("b").round == 2
    with pytest.raises(ApiError):
        setting.hand_in("c", 1, adapter(3))
    with setting.store.read() as session:
        assert session.query(Receipt).count() == 2, "what it gave before stays"


def test_a_bit_that_flipped_in_the_store_stops_the_run_with_a_sentence(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    blob = setting.store.blobs.place(hashlib.sha256(adapter(1)).hexdigest())
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 1
    blob.write_bytes(damaged)
    for _ in range(jobs.MOST_ERRORS):
        setting.aggregate()
    assert setting.status() == "failed"
    assert "blob is damaged" in explain.explain(setting.store, setting.run)


def test_refused_updates_keep_their_reason_and_the_newest_three_their_bytes(setting: Setting, clock: Any) -> None:
    for seed in range(5):
        clock.now += 1
        with pytest.raises(Unprocessable):
            setting.hand_in("a", 1, adapter(seed + 20), 0)
    with pytest.raises(Unprocessable):
        setting.hand_in("b", 1, adapter(24), 0)
    kept = set((setting.store.folder / "quarantine").iterdir())
    assert kept == {*(aside(setting, "a", adapter(seed)) for seed in (22, 23, 24)), aside(setting, "b", adapter(24))}
    own = refusals.listed(setting.store, setting.callers["a"], setting.run, "", 50)
    assert [line.sha256 is not None for line in own] == [False, False, True, True, True]
    assert all(line.reason.startswith("the example count is 0") for line in own)
    person = Caller("person", "p", is_admin=True)
    assert [line.member for line in refusals.listed(setting.store, person, setting.run, "", 50)] == [*"aaaaab"]
    assert refusals.listed(setting.store, setting.callers["c"], setting.run, "", 50) == []
    for seed in range(refusals.MOST_REFUSALS - 5):
        with pytest.raises(Unprocessable):
            setting.hand_in("a", 1, adapter(seed + 20), 0)
    with pytest.raises(TooMany, match="20 updates of 'a' were refused in round 1"):
        setting.hand_in("a", 1, adapter(1))
