"""`fedflow demo --network`: the demo's federation carried by a server, a worker and five clients on this machine.

What they leave, the server's scores too, is put where `fedflow simulate` looks for outcomes: it plays the run again
from them, which costs nothing, and adds the baselines and the report.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from fedflow.cli.run import Coordinator, code, start, watch
from fedflow.client.home import Home
from fedflow.errors import RunError
from fedflow.federation.jobs import Committed, DrawJob, Drawn, TrainJob
from fedflow.federation.places import RunFolder, data_folder
from fedflow.plan import Plan
from fedflow.processes import end_with_parent
from fedflow.server.services.identity import TOKEN_FILE
from fedflow.storage import Blobs, read_json, write_atomic, write_json

HOST = "127.0.0.1"
START_S = 120.0
LOOK_S = 0.2
END_S = 20.0
OWN_KEYS = ("round", "adapter", "residual", "bytes_up", "bytes_down", "exact_error")


def carry_over_network(plan_file: Path, plan: Plan, out: Path) -> None:
    """Run the federation of `plan` under `out/network`, or go on with it there, and note its outcomes in `out`.

    Raises RunError where a process ends or does not answer in time; its log lies beside its folder.
    """
    seed = plan.seeds[0]
    folder = RunFolder(out)
    if folder.aggregate(seed, plan.rounds).is_file():
        return
    place = out / "network"
    place.mkdir(exist_ok=True)
    url = f"http://{HOST}:{_port(place)}"
    server = place / "server"
    with ExitStack() as processes:
        processes.enter_context(
            _process(place / "server.log", "server", "--folder", server, "--port", url.rpartition(":")[2])
        )
        _wait_for_server(url, place / "server.log")
        # A second one draws on another core; the server's own is the first.
        processes.enter_context(_process(place / "evaluator.log", "server", "--folder", server, "evaluator"))
        coordinator = Coordinator(url, None, server / TOKEN_FILE)
        processes.callback(coordinator.close)
        print(f"FedFlowServer runs at {url}; five clients join it, each with its own folder under {place}.")
        for client in plan.data.clients:
            words: list[str | Path] = [
                "join",
                url,
                "--home",
                place / client,
                "--data",
                data_folder(plan) / client,
                "--accept",
                "--once",
            ]
            if Home(place / client).device() is None:
                words += ["--code", code(coordinator, client, None, None)]
            processes.enter_context(_process(place / f"{client}.log", *words))
        _wait_for_members(coordinator, plan)
        runs = coordinator.get("/runs", limit=1)["items"]
        run_id = runs[0]["id"] if runs else start(coordinator, plan_file, (), None)
        if not watch(coordinator, run_id):
            raise RunError(f"the run over the network ended early; see the logs in {place}")
        federation = coordinator.federation(None)
        events = list(coordinator.pages(f"/federations/{federation}/events"))
        drawings = coordinator.get(f"/runs/{run_id}/scores")["items"]
    committed = [event["facts"] for event in events if (event["run"], event["kind"]) == (run_id, "round committed")]
    _note_drawings(plan, folder, Blobs(server / "blobs"), drawings)
    _note_outcomes(plan, folder, place, run_id, committed)


def _note_outcomes(plan: Plan, folder: RunFolder, place: Path, run_id: str, committed: list[dict[str, Any]]) -> None:
    """Copy what the network's run made to where a run on one machine keeps it; the last round's note comes last."""
    seed = plan.seeds[0]
    blobs = Blobs(place / "server" / "blobs")
    for facts in committed:
        number = int(facts["round"])
        for client in plan.data.clients:
            job = TrainJob(seed, client, number, (client,), 0, None, ())
            trained = read_json(RunFolder(Home(place / client).run(run_id)).outcome(job.name))
            folder.blobs.put(blobs.get(trained["update"]).read_bytes())
            write_json(folder.outcome(job.name), trained)
        for digest in (facts["adapter"], facts["residual"]):
            if digest is not None:
                folder.blobs.put(blobs.get(digest).read_bytes())
        joined = Committed(
            adapter=facts["adapter"],
            residual=facts["residual"],
            bytes_up=facts["bytes_up"],
            bytes_down=facts["bytes_down"],
            report={key: value for key, value in facts.items() if key not in OWN_KEYS},
            exact_error=facts["exact_error"],
        )
        write_json(folder.aggregate(seed, number), asdict(joined))


def _note_drawings(plan: Plan, folder: RunFolder, blobs: Blobs, drawings: list[dict[str, Any]]) -> None:
    """Copy what the server drew and measured to where a run on one machine keeps it."""
    for told in drawings:
        job = DrawJob(plan.seeds[0], told["who"], told["round"], None, ())
        features = folder.features(job.seed, job.round, job.who)
        gallery = folder.gallery(job.seed, job.round, job.who)
        write_atomic(features, blobs.get(told["features"]).read_bytes())
        for number, digest in enumerate(told["gallery"]):
            write_atomic(gallery / f"{number:02d}.png", blobs.get(digest).read_bytes())
        drawn = Drawn(str(features.relative_to(folder.out)), str(gallery.relative_to(folder.out)), told["seconds"])
        write_json(folder.outcome(job.name), asdict(drawn))


def _port(place: Path) -> int:
    """The port of the server in `place`: a free one at the first start, the same at the next."""
    note = place / "port.json"
    if not note.is_file():
        with socket.socket() as listening:
            listening.bind((HOST, 0))
            write_json(note, {"port": listening.getsockname()[1]})
    return int(read_json(note)["port"])


@contextmanager
def _process(log: Path, *words: str | Path) -> Iterator[None]:
    """A `fedflow` process for as long as the context lasts; it ends with this process too."""
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedflow", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - this process has one thread
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_server(url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=2.0).is_success:
                return
        except httpx.HTTPError:
            time.sleep(LOOK_S)
    raise RunError(f"{url}: the server did not start; {log} says why")


def _wait_for_members(coordinator: Coordinator, plan: Plan) -> None:
    federation = coordinator.federation(None)
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        there = {member["name"] for member in coordinator.get(f"/federations/{federation}/members", limit=200)["items"]}
        if there >= set(plan.data.clients):
            return
        time.sleep(LOOK_S)
    raise RunError("the clients did not join in time; their logs say why")
