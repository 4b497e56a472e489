"""Try-outs of a release: whose they are, how many one may have, how they wait, and when they go."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.run_setting import Setting
from tests.unit.server.test_catalogue import PASSWORD, made, person
from tests.unit.server.tryout_setting import ask, release_of_run

from fedflow.server.database.people import AuditEntry
from fedflow.server.database.tables import Job
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import (
    accounts,
    audit,
    federations,
    files,
    jobs,
    own_data,
    releases,
    role_changes,
    tokens,
    tryout_work,
    tryouts,
)
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SCOPES, SERVER, Caller, first_coordinator
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.server.settings import DAY_S, ServerSettings
from fedflow.server.store import Store

__all__ = ["made"]


@pytest.fixture
def release_id(made: Setting) -> str:
    return release_of_run(made.store)


@pytest.fixture
def vera(release_id: str, store: Store, federation_id: str) -> Caller:
    assert release_id
    first_coordinator(store)  # so that somebody is left where an account is closed
    return person(store, "vera", federation_id, "viewer")


def row(store: Store, tryout_id: str) -> Tryout:
    with store.read() as session:
        return session.get_one(Tryout, tryout_id)


def drawn(store: Store, tryout_id: str, count: int = 1) -> None:
    """Keep pictures as an evaluator does."""
    about = tryouts.subject(row(store, tryout_id))
    assert tryout_work.begin(store, about) is not None
    first = len(row(store, tryout_id).pictures)
    for number in range(first, first + count):
        tryout_work.keep(store, about, number, store.blobs.put(f"{tryout_id} {number}".encode()))


def test_one_person_has_so_many_at_once_and_so_many_a_day(
    store: Store, vera: Caller, release_id: str, clock: Clock
) -> None:
    few = ServerSettings(folder=store.folder, tryouts_waiting=2, tryout_pictures_a_day=7)
    first = ask(store, vera, release_id, few, pictures=3)
    ask(store, vera, release_id, few, pictures=3)
    with pytest.raises(Conflict, match="you have 2 try-outs waiting or being drawn, which is all that one person may"):
        ask(store, vera, release_id, few, pictures=1)
    drawn(store, first)
    tryouts.cancel(store, vera, first)  # of its three pictures one was drawn
    with pytest.raises(Conflict, match="3 pictures are left of the 7 that one person may draw in 24 hours, and 4 are"):
        ask(store, vera, release_id, few, pictures=4)
    clock.now += 10
    last = ask(store, vera, release_id, few, pictures=3)
    tryouts.remove(store, vera, first)  # what was drawn was drawn
    for tryout_id in (last,):
        drawn(store, tryout_id, 3)
    with pytest.raises(Conflict, match="0 pictures are left of the 7"):
        ask(store, vera, release_id, few, pictures=1)
    clock.now += DAY_S - 9
    ask(store, vera, release_id, few, pictures=4)


def test_it_is_told_how_many_are_drawn_before(
    store: Store, vera: Caller, release_id: str, federation_id: str, settings: ServerSettings
) -> None:
    paul = person(store, "paul", federation_id, "viewer")
    mine = [ask(store, vera, release_id), ask(store, paul, release_id), ask(store, vera, release_id)]
    assert [tryouts.one(store, vera, each).line.ahead for each in (mine[0], mine[2])] == [0, 2]
    found = tryouts.view(store, settings, vera, release_id)
    assert [(line.tryout.id, line.ahead) for line in found.lines] == [(mine[2], 2), (mine[0], 0)]
    assert (found.source and found.source.base_name, found.impossible, found.rounds_first) == ("starter", "", False)
    tryouts.cancel(store, paul, mine[1])
    assert tryouts.one(store, vera, mine[2]).line.ahead == 1


def test_another_persons_are_not_there(store: Store, vera: Caller, release_id: str, federation_id: str) -> None:
    paul = person(store, "paul", federation_id, "administrator")
    stranger = person(store, "stranger", federations.create(store, "other"), "administrator")
    tryout_id = ask(store, vera, release_id)
    drawn(store, tryout_id)
    for act in (tryouts.one, tryouts.cancel, tryouts.remove):
        with pytest.raises(NotFound, match="there is no try-out"):
            act(store, paul, tryout_id)
    with pytest.raises(NotFound):
        tryouts.picture(store, paul, tryout_id, 1)
    with pytest.raises(NotFound):
        ask(store, stranger, release_id)
    place, sha256 = tryouts.picture(store, vera, tryout_id, 1)
    assert hashlib.sha256(place.read_bytes()).hexdigest() == sha256
    with pytest.raises(NotFound):
        files.path_for(store, paul if not paul.is_admin else stranger, sha256)


def test_whose_role_or_account_is_gone_has_nothing_drawn_and_sees_no_picture(
    store: Store, vera: Caller, release_id: str, federation_id: str
) -> None:
    paul = person(store, "paul", federation_id, "viewer")
    theirs, waiting = ask(store, vera, release_id), ask(store, paul, release_id)
    drawn(store, theirs)
    person(store, "ada", federation_id, "administrator")
    role_changes.take(store, SERVER, federation_id, vera.id)
    for act in (tryouts.one, tryouts.cancel, tryouts.remove):
        with pytest.raises(NotFound, match="there is no try-out"):
            act(store, vera, theirs)
    with pytest.raises(NotFound):
        tryouts.picture(store, vera, theirs, 1)
    assert tryouts.own(store, vera) == []
    with pytest.raises(Conflict, match="you may not see this release any more"):
        tryout_work.begin(store, tryouts.subject(row(store, theirs)))
    accounts.disable(store, SERVER, paul.id, disabled=True)
    with pytest.raises(Conflict, match="the account that asked for it was closed"):
        tryout_work.begin(store, tryouts.subject(row(store, waiting)))


def test_a_token_of_another_federation_reaches_no_try_out(store: Store, vera: Caller, release_id: str) -> None:
    tryout_id = ask(store, vera, release_id)
    drawn(store, tryout_id)
    elsewhere = replace(vera, federation_id=federations.create(store, "other"))
    for act in (tryouts.one, tryouts.cancel, tryouts.remove):
        with pytest.raises(NotFound, match="there is no try-out"):
            act(store, elsewhere, tryout_id)
    assert tryouts.own(store, elsewhere) == []
    assert tryouts.own(store, vera) != []


def test_the_same_request_twice_is_one_try_out(
    store: Store, vera: Caller, release_id: str, federation_id: str, settings: ServerSettings
) -> None:
    paul, identifier = person(store, "paul", federation_id, "viewer"), new_id()
    wanted = TryoutRequest(prompt="a fox", pictures=1)
    once, twice = (tryouts.ask(store, settings, vera, release_id, wanted, identifier) for _ in range(2))
    assert once == twice == identifier
    assert tryouts.ask(store, settings, paul, release_id, wanted, identifier) != identifier, "it is another's"
    assert 0 <= row(store, identifier).seed < 2**32


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"pictures": 5}, "pictures: 5 are asked for, and at most 4 are allowed"),
        ({"steps": 51}, "steps: 51 are asked for, and at most 50"),
        ({"size_pixels": 1024}, "size_pixels: 1024 are asked for, and at most 768"),
    ],
)
def test_a_server_draws_only_so_much(
    store: Store, vera: Caller, release_id: str, said: dict[str, object], message: str
) -> None:
    with pytest.raises(Unprocessable, match=message):
        ask(store, vera, release_id, **said)


def test_a_withdrawn_release_is_not_drawn_with(
    store: Store, vera: Caller, release_id: str, settings: ServerSettings
) -> None:
    tryout_id = ask(store, vera, release_id)
    releases.withdraw(store, SERVER, release_id, "blurred")
    with pytest.raises(Conflict, match="release 'v1' was withdrawn; try a newer one"):
        ask(store, vera, release_id)
    with pytest.raises(Conflict, match="was withdrawn"):
        tryout_work.begin(store, tryouts.subject(row(store, tryout_id)))
    assert "was withdrawn" in tryouts.view(store, settings, vera, release_id).impossible


def test_a_cancelled_one_takes_no_more_pictures_and_can_be_gone_on_with(
    store: Store, vera: Caller, release_id: str, settings: ServerSettings
) -> None:
    tryout_id = ask(store, vera, release_id)
    drawn(store, tryout_id)
    about = tryouts.subject(row(store, tryout_id))
    tryouts.cancel(store, vera, tryout_id)
    assert not tryout_work.note(store, about, 3)
    assert not tryout_work.keep(store, about, 1, store.blobs.put(b"late"))
    with pytest.raises(Conflict, match="over already"):
        tryouts.cancel(store, vera, tryout_id)
    tryouts.again(store, settings, vera, tryout_id)
    assert tryout_work.begin(store, about) is None, "the first attempt's job finds nothing to do"
    drawn(store, tryout_id)
    assert (row(store, tryout_id).status, len(row(store, tryout_id).pictures)) == ("done", 2)
    with pytest.raises(Conflict, match="this try-out is done; only one that failed or was cancelled"):
        tryouts.again(store, settings, vera, tryout_id)


def test_a_picture_counts_once_whoever_brings_it_twice(store: Store, vera: Caller, release_id: str) -> None:
    tryout_id = ask(store, vera, release_id)
    about = tryouts.subject(row(store, tryout_id))
    tryout_work.begin(store, about)
    first, same = (tryout_work.keep(store, about, 0, store.blobs.put(text)) for text in (b"one", b"another"))
    assert first
    assert same
    assert row(store, tryout_id).pictures == [hashlib.sha256(b"one").hexdigest()]
    assert tryout_work.note(store, about, 3)
    assert row(store, tryout_id).steps_done == 3


def test_what_a_worker_gave_up_without_a_word_is_told_as_failed(store: Store, vera: Caller, release_id: str) -> None:
    tryout_id = ask(store, vera, release_id)
    [job_id] = jobs.waiting(store, ("tryout",))
    jobs.claim(store, job_id, "worker")
    tryout_work.begin(store, tryouts.subject(row(store, tryout_id)))
    jobs.fail(store, job_id, "worker", "no memory", give_up=True)
    tryout_work.collect(store, DAY_S)
    assert (row(store, tryout_id).status, row(store, tryout_id).message) == ("failed", "no memory")


def test_pictures_are_kept_for_their_time_and_then_collected(
    store: Store, vera: Caller, release_id: str, clock: Clock
) -> None:
    kept, deleted = ask(store, vera, release_id, pictures=1), ask(store, vera, release_id, pictures=1)
    for tryout_id in (kept, deleted):
        drawn(store, tryout_id)
    sha256, other = (row(store, tryout_id).pictures[0] for tryout_id in (kept, deleted))
    for job_id in jobs.waiting(store, ("tryout",)):
        jobs.finish(store, job_id)
    tryouts.remove(store, vera, deleted)
    clock.now += 2 * DAY_S
    assert tryout_work.collect(store, 7 * DAY_S) == 1
    files.collect(store, upload_ttl_s=1e9)
    assert (sha256 in store.blobs, other in store.blobs) == (True, False)
    clock.now += 6 * DAY_S
    assert tryout_work.collect(store, 7 * DAY_S) == 1
    files.collect(store, upload_ttl_s=1e9)
    assert sha256 not in store.blobs
    with store.read() as session:
        assert session.query(Job).where(Job.kind == "tryout").all() == []


def test_an_account_takes_its_try_outs_along(store: Store, vera: Caller, release_id: str) -> None:
    tryout_id = ask(store, vera, release_id, prompt="my own fox")
    told = own_data.export(store, vera)["tryouts"]
    assert [(each["release"], each["prompt"]) for each in told] == [("test v1", "my own fox")]
    accounts.delete_account(store, vera, PASSWORD)
    with store.read() as session:
        assert session.get(Tryout, tryout_id) is None
        entries = session.query(AuditEntry).where(AuditEntry.object_kind == "tryout").all()
    assert [entry.action for entry in entries] == ["try-out asked for"]
    assert "fox" not in str(entries[0].facts), "a prompt is the person's"
    assert audit.verify(store).faults == ()


def test_it_goes_by_the_api(store: Store, vera: Caller, release_id: str, anyone: Api) -> None:
    api = Api(anyone.client, tokens.make(store, vera, "mine", SCOPES, 3600.0))
    asked = {"prompt": " a\n fox ", "seed": 3, "guidance": 2}
    answers = [
        api("POST", f"/api/v1/releases/{release_id}/tryouts", json=asked, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    told = answers[0].json
    assert told == answers[1].json
    assert (told["prompt"], told["seed"], told["count"], told["status"]) == ("a fox", 3, 2, "waiting")
    refused = api("POST", f"/api/v1/releases/{release_id}/tryouts", json={"prompt": "  "})
    assert (refused.status_code, refused.json["error"]["message"]) == (422, "prompt: say what the pictures shall show")
    drawn(store, told["id"])
    picture = api("GET", f"/api/v1/tryouts/{told['id']}/pictures/1")
    assert (picture.data, picture.mimetype) == (f"{told['id']} 0".encode(), "image/png")
    assert api("GET", f"/api/v1/tryouts/{told['id']}/pictures/2").status_code == 404
    assert api("POST", f"/api/v1/tryouts/{told['id']}/cancel").json["status"] == "cancelled"
    assert api("POST", f"/api/v1/tryouts/{told['id']}/again").json["status"] == "waiting"
    listed = api("GET", f"/api/v1/releases/{release_id}/tryouts?limit=1").json
    assert ([item["id"] for item in listed["items"]], listed["next"]) == ([told["id"]], told["id"])
    assert api("DELETE", f"/api/v1/tryouts/{told['id']}").status_code == 204
    assert api("GET", f"/api/v1/tryouts/{told['id']}").status_code == 404
