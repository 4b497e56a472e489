"""A hostile participant against a real server: every attack is refused rightly, and the round is unharmed."""

from __future__ import annotations

import hashlib
import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import warm
from attacks import AFTER, BEFORE, Attack
from hostile import PIECE, Scene, hang_up, honest_update
from network import Network, wait_for
from siege import (
    HONEST,
    REFUSED_A_ROUND,
    SlowClients,
    answer_honestly,
    begin,
    close,
    latencies_s,
    plan,
    quarantined,
    send_forged,
    start_run,
)

FORGED = 340
SLOW_EACH = 80
SILENT = 1300


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[tuple[Network, Scene, str]]:
    network = Network(tmp_path_factory.mktemp("siege"), start=warm.start)
    try:
        scene, quiet = begin(network, str(tiny_model_folder), FORGED // REFUSED_A_ROUND)
        yield network, scene, quiet
    finally:
        hang_up()
        network.stop()


@pytest.fixture
def scene(siege: tuple[Network, Scene, str]) -> Scene:
    return siege[1]


def _check(scene: Scene, attack: Attack) -> None:
    answers = list(attack.tries(scene))
    assert answers
    wrong = [answer for answer in answers if answer.status not in attack.statuses or answer.fault]
    assert not wrong


@pytest.mark.parametrize("attack", BEFORE, ids=lambda attack: attack.name)
def test_an_attack_is_refused_with_the_right_status_and_one_sentence(scene: Scene, attack: Attack) -> None:
    _check(scene, attack)


def test_slow_clients_take_no_thread_from_others(scene: Scene) -> None:
    slow = SlowClients(scene)
    try:
        slow.open(SLOW_EACH)
        taken = latencies_s(next(iter(scene.honest.values())), 8)
        assert taken[int(0.95 * len(taken))] < 1.0
        assert taken[-1] < 5.0

        def answered() -> bool:
            return "open" not in slow.answers("half a head") + slow.answers("half a body") + slow.answers("silent")

        wait_for(answered, 40, "the end of half requests")
        assert set(slow.answers("half a head")) <= {"408", "closed"}
        assert set(slow.answers("half a body")) <= {"408", "closed"}
        told = slow.answers("half an upload")
        assert told["429"] >= 4, "a device holds four threads at most"
        assert "429" in slow.answers("an unread page")
    finally:
        slow.close()


def test_more_silent_connections_than_there_may_be_keep_nobody_out(scene: Scene) -> None:
    address = urlsplit(scene.url)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            for _ in range(SILENT):
                stack.enter_context(socket.create_connection((str(address.hostname), address.port or 0), 30))
            assert latencies_s(next(iter(scene.honest.values())), 4)[-1] < 2.0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_holds_its_own_upload_and_hands_it_in_holds_up_nobody(scene: Scene, tiny_model_folder: Path) -> None:
    names = ("holder", "other")
    holder, other = (scene.new_device(name) for name in names)
    run = start_run(scene.person, scene.federation, [holder, other], plan("held", str(tiny_model_folder), names))
    start = scene.person.get(f"/files/{holder.get('/work').json()['adapter']}").content
    content, address = honest_update(start, 9), urlsplit(scene.url)
    upload, digest = holder.upload(content), hashlib.sha256(content).hexdigest()
    words = {**PIECE, **holder.auth(), "Host": address.netloc, "Upload-Offset": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**words, "Transfer-Encoding": "chunked"}.items())
    with ThreadPoolExecutor(40) as pool:
        with socket.create_connection((str(address.hostname), address.port or 0), 30) as held:
            held.sendall(f"PATCH {urlsplit(holder.url).path}/uploads/{upload} HTTP/1.1\r\n{head}\r\n".encode())
            time.sleep(1.0)
            handing_in = [pool.submit(holder.hand_in, run, 1, upload, digest) for _ in range(40)]
            began = time.monotonic()
            assert other.send(run, 1, honest_update(start, 8)).status_code == 200
            assert time.monotonic() - began < 10.0
            while sum(each.done() for each in handing_in) < 38 and time.monotonic() - began < 10.0:
                time.sleep(0.05)
            assert sum(each.done() for each in handing_in) == 38
        statuses = Counter(each.result().status_code for each in handing_in)
    assert statuses == {429: 38, 200: 2}


def test_forged_files_are_refused_over_http(scene: Scene) -> None:
    statuses, answers = send_forged(scene, FORGED, seed=3)
    assert set(statuses) <= {200, 409, 422}
    assert statuses[422] > 0.85 * FORGED
    assert statuses[200] < 0.05 * FORGED
    assert not [answer for answer in answers if answer.fault]


def test_both_sides_read_why_and_the_bytes_kept_aside_are_capped(siege: tuple[Network, Scene, str]) -> None:
    network, scene, _ = siege
    forger = scene.forgers[0]
    own = forger.get(f"/runs/{scene.fuzzed}/refusals?limit=200").raise_for_status().json()["items"]
    everyones, after = [], ""
    while after is not None:
        page = scene.person.get(f"/runs/{scene.fuzzed}/refusals?limit=200&after={after}").raise_for_status().json()
        everyones += page["items"]
        after = page["next"]
    assert {item["member"] for item in own} == {forger.member}
    assert [item["reason"] for item in own] == [i["reason"] for i in everyones if i["member"] == forger.member]
    assert len({item["member"] for item in everyones}) == FORGED // REFUSED_A_ROUND
    kept = [item["sha256"] for item in everyones if item["sha256"]]
    assert max(sum(1 for item in own if item["sha256"]), 1) <= 3
    aside = quarantined(network.data)
    assert set(kept) <= {name.rpartition("-")[2] for name in aside}
    assert all(aside.values()), "what is kept aside is what was sent"
    while len(forger.get(f"/runs/{scene.fuzzed}/refusals?limit=200").json()["items"]) < REFUSED_A_ROUND:
        forger.send(scene.fuzzed, 1, scene.start, 10**18)
    answer = forger.send(scene.fuzzed, 1, scene.start, 10**18)
    assert answer.status_code == 429
    assert "ask the coordinator" in answer.json()["error"]["message"]


def test_the_round_is_unharmed_and_nothing_was_a_defect(siege: tuple[Network, Scene, str]) -> None:
    network, scene, quiet = siege
    assert answer_honestly(scene, scene.run, HONEST[0]).status == 200
    for attack in AFTER:
        _check(scene, attack)
    assert answer_honestly(scene, scene.run, HONEST[1]).status == 200
    for name in HONEST:
        assert answer_honestly(scene, quiet, name).status == 200
    counted = scene.person.get(f"/runs/{scene.run}/explain").json()["text"]
    assert "updates are in" in counted
    assert close(scene, scene.run) == close(scene, quiet)
    lines = [json.loads(line) for line in network.log("server").splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] == "error" or "traceback" in line]
    assert not [line for line in lines if line.get("status", 0) >= 500]
    assert "Traceback" not in network.log("server")
