"""The log of what left this machine: for which run and round, filtered, added up, and handed on as a file."""

from __future__ import annotations

import csv
import io
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event, insert, text
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.federation_support import MEMBERSHIP, facts, joined

from fedflow.client.database.tables import Sending
from fedflow.client.leaving import NOTHING, Leaving, leaving
from fedflow.client.services import consents, datasets, jobs, memberships, sendings, server_sign_ins
from fedflow.client.services.sendings import EVERYTHING, Wanted
from fedflow.client.services.server_sign_ins import SignInRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker import joining
from fedflow.errors import FedFlowError
from fedflow.federation.protocol import Joined

OTHER = "01b3"
RUN = "0190a3b4-0000-7000-8000-000000000001"
HOME = "https://x.example/api/v1"
DAY = 86_400.0


@pytest.mark.parametrize(
    ("method", "path", "about", "belongs"),
    [
        ("GET", "/work", NOTHING, (None, None)),
        ("GET", f"/work?doing=training:{RUN}:3", NOTHING, (RUN, 3)),
        ("GET", f"/work?doing=training:{RUN}:3&doing=memory:{RUN}:2", NOTHING, (RUN, None)),
        ("GET", f"/work?doing=training:{RUN}:3&doing=hours:{RUN[:-1]}2:3", NOTHING, (None, None)),
        ("GET", f"/runs/{RUN}", NOTHING, (RUN, None)),
        ("GET", f"/runs/{RUN}/rounds?limit=200", NOTHING, (RUN, None)),
        ("POST", f"/runs/{RUN}/consent", (RUN, 2), (RUN, None)),
        ("POST", f"/runs/{RUN}/rounds/12/updates", NOTHING, (RUN, 12)),
        ("PATCH", "/uploads/u1", (RUN, 2), (RUN, 2)),
        ("GET", "/files/ab", NOTHING, (None, None)),
    ],
)
def test_a_request_tells_what_it_is_for(
    method: str, path: str, about: tuple[str | None, int | None], belongs: tuple[str | None, int | None]
) -> None:
    """By its address, by its question, else by what is being done; an address that names a run is believed first."""
    found = leaving(httpx.Request(method, f"{HOME}{path}", content=b"12345"), about)
    assert (found.run, found.round) == belongs
    assert found.size_bytes > len(path) + 5


def test_lines_are_added_up_by_sort_run_and_round(store: Store) -> None:
    joined(store)
    sent = [
        Leaving("GET", "/api/v1/work", 300),
        Leaving("GET", "/api/v1/work", 300),
        Leaving("POST", "/api/v1/uploads", 500, "r1", 1),
        Leaving("PATCH", "/api/v1/uploads/1", 100_000, "r1", 1),
        Leaving("PATCH", "/api/v1/uploads/2", 100_000, "r1", 2),
        Leaving("POST", "/api/v1/runs/r1/rounds/1/updates", 700, "r1", 1),
        Leaving("GET", "/api/v1/files/ab", 250, "r1", 1),
        Leaving("POST", "/api/v1/devices/challenge", 200, "r1", 1),
    ]
    for each in sent:
        sendings.note(store, MEMBERSHIP, each)
    told = [(line.what, line.run_id, line.round, line.times) for line in sendings.listed(store, EVERYTHING, 10)]
    assert told[::-1] == [
        ("poll", None, None, 2),
        ("update", "r1", 1, 2),
        ("update", "r1", 2, 1),
        ("hand-in", "r1", 1, 1),
        ("download", "r1", 1, 1),
        ("sign-in", None, None, 1),
    ]
    assert sendings.by_sort(store, Wanted(MEMBERSHIP, "r1")) == {
        "update": (3, 200_500), "hand-in": (1, 700), "download": (1, 250),
    }  # fmt: skip


@pytest.fixture
def log(store: Store) -> Store:
    """Lines of two federations, with a run each; the second's is called as a formula."""
    joined(store)
    joined(store, OTHER, federation="Clinics")
    consents.ask(store, MEMBERSHIP, facts("autumn"), 12)
    consents.ask(store, OTHER, facts("=1+1").model_copy(update={"id": "r2"}), 12)
    for place, (federation, run) in enumerate(((MEMBERSHIP, "r1"), (OTHER, "r2"))):
        sendings.note(store, federation, Leaving("GET", "/api/v1/work", 300))
        sendings.note(store, federation, Leaving("PATCH", "/api/v1/uploads/1", 100_000 + place, run, 1))
        sendings.note(store, federation, Leaving("POST", f"/api/v1/runs/{run}/rounds/1/updates", 700, run, 1))
    return store


def lines(page: str) -> list[str]:
    """The rows of the table as a reader sees them."""
    rows = re.findall(r'<tr role="row">(.*?)</tr>', page.partition("<tbody")[2], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]


def test_the_page_names_the_run_and_leads_to_it(visitor: Visitor, log: Store) -> None:
    page = visitor.client.get("/federations/sent").text
    assert len(lines(page)) == 6
    assert re.search(rf'<a href="/federations/{MEMBERSHIP}/runs/r1">autumn</a>, round 1', page)
    assert f'href="/federations/sent?federation={MEMBERSHIP}"' in visitor.client.get(f"/federations/{MEMBERSHIP}").text
    assert 'href="/federations/sent"' in visitor.client.get("/federations").text


def test_the_filters_hold_for_lines_sums_and_files(visitor: Visitor, log: Store) -> None:
    page = visitor.client.get(f"/federations/sent?federation={OTHER}&what=update").text
    [line] = lines(page)
    assert "Trained weights" in line
    assert "100,001" in line
    assert "100,001 bytes in 1 request" in page
    assert "autumn" not in page, "runs of another federation are not offered"
    [href] = re.findall(r'href="(/federations/sent\.jsonl\?[^"]*)"', page)
    [told] = visitor.client.get(href.replace("&amp;", "&")).text.splitlines()
    assert json.loads(told)["bytes"] == 100_001
    assert len(lines(visitor.client.get("/federations/sent?run=r1").text)) == 2
    assert "Nothing found" in visitor.client.get(f"/federations/sent?federation={OTHER}&what=answer").text
    changed = visitor.client.get(f"/federations/sent?federation={OTHER}&run=r1").text
    assert len(lines(changed)) == 3, "a run of another federation than the one that is asked for is let go"


def test_the_log_of_a_federation_stays_after_leaving_until_its_owner_deletes_it(visitor: Visitor, log: Store) -> None:
    visitor.post(f"/federations/{OTHER}/leave")
    assert 'href="/federations/sent"' in visitor.client.get("/federations").text
    page = visitor.client.get("/federations/sent").text
    assert len(lines(page)) == 6
    assert sum("Clinics, left" in line and "r2" not in line for line in lines(page)) == 3, "runs keep their names"
    assert f'<option value="{OTHER}">Clinics, left</option>' in page
    assert f"/federations/{OTHER}/runs/r2" not in page, "its page is gone"
    assert len(lines(visitor.client.get(f"/federations/sent?federation={OTHER}&run=r2").text)) == 2
    told = visitor.client.get(f"/federations/sent.jsonl?federation={OTHER}").text.splitlines()
    assert {json.loads(line)["federation"] for line in told} == {"Clinics"}
    sendings.note(log, OTHER, Leaving("GET", "/api/v1/work", 300))
    assert len(lines(visitor.client.get("/federations/sent").text)) == 7, "what was under way as one left counts"
    assert visitor.post(f"/federations/sent/{MEMBERSHIP}/delete").status_code == 404, "it is still taken part in"
    assert visitor.post(f"/federations/sent/{OTHER}/delete").status_code == 303
    page = visitor.client.get("/federations/sent").text
    assert (len(lines(page)), "Clinics" in page) == (3, False)


def test_what_was_joined_twice_is_told_apart(visitor: Visitor, log: Store) -> None:
    again = [joined(log, each, moment=moment) for each, moment in (("01b4", 2.0), ("01b5", 3.0))]
    for each in (MEMBERSHIP, again[0]):
        memberships.note_removed(log, each)
    page = visitor.client.get("/federations/sent").text
    options = re.findall(r'<option value="01[^>]*>([^<]*)<', page)
    first, second, third = (f"Museums, joined Jan 1, 1970, 12:00:0{second}\u202fAM UTC" for second in (1, 2, 3))
    assert options == [f"{first}, removed", "Clinics", f"{second}, removed", third]
    old = visitor.client.get(f"/federations/{MEMBERSHIP}").text
    assert ("you need a new code" in old, "takes part on" in old) == (False, True)
    visitor.post(f"/federations/{MEMBERSHIP}/leave")
    assert "This machine takes part on" in visitor.client.get("/federations").text
    visitor.post(f"/federations/{again[0]}/leave")
    kept = visitor.client.get("/federations/sent").text.partition('id="kept-title"')[2]
    assert re.findall(r">(Museums[^<]*)</a>", kept) == [f"{second}, left", f"{first}, left"]
    now = visitor.client.get(f"/federations/{again[1]}").text
    assert "you need a new code" in now


@contextmanager
def serving(answer: type[socketserver.BaseRequestHandler] = socketserver.BaseRequestHandler) -> Iterator[str]:
    """The address of a server that takes a request and ends the connection without an answer, or with this one."""
    with socketserver.TCPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_what_is_sent_before_joining_stands_under_the_servers_address(visitor: Visitor, store: Store) -> None:
    with serving() as server, pytest.raises(FedFlowError):
        server_sign_ins.begin(store, SignInRequest(server=server, device="studio-pc"))
    [line] = sendings.listed(store, EVERYTHING, 10)
    assert (line.what, line.membership_id, line.server) == ("sign-in", None, server)
    assert line.size_bytes > len("studio-pc")
    joined(store)
    sendings.note(store, MEMBERSHIP, Leaving("GET", "/api/v1/work", 300))
    page = visitor.client.get("/federations/sent?federation=none").text
    [shown] = lines(page)
    assert f"Proofs of who this machine is {server} 1" in shown
    [told] = visitor.client.get("/federations/sent.jsonl?federation=none").text.splitlines()
    assert (json.loads(told)["server"], json.loads(told)["federation"]) == (server, None)
    assert visitor.post("/federations/sent/none/delete").status_code == 303
    assert [each.membership_id for each in sendings.listed(store, EVERYTHING, 10)] == [MEMBERSHIP]


def test_what_no_connection_was_made_for_is_in_no_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memberships, "JOIN_PATIENCE_S", 0.0)
    joined(store)

    def ask() -> None:
        with pytest.raises(FedFlowError), memberships.connected(store, MEMBERSHIP, patience_s=0.0) as connection:
            connection.begin_sign_in(server, "studio-pc")

    with serving() as server:
        ask()
    [line] = sendings.listed(store, EVERYTHING, 10)
    assert line.times == 1, "it may have gone: nobody can tell"
    ask()
    asked = {"server": server, "code": "code-code-code", "device": "studio-pc", "dataset": "d1"}
    with store.begin() as session:
        job = jobs.add(session, memberships.JOIN, server, asked, 0, store.clock())
    with pytest.raises(FedFlowError):
        joining.do(store, ClientSettings(folder=store.folder), job)
    with pytest.raises(FedFlowError):
        server_sign_ins.begin(store, SignInRequest(server=server, device="studio-pc"))
    [same] = sendings.listed(store, EVERYTHING, 10)
    assert (same.times, same.size_bytes, same.until) == (1, line.size_bytes, line.until)


def test_what_a_join_sends_is_in_the_log_before_it_goes_and_the_memberships_once_it_is_one(
    store: Store, pictures: Path
) -> None:
    seen, dataset = [], datasets.add(store, str(pictures))

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.extend((line.server, line.times) for line in sendings.listed(store, EVERYTHING, 10))
            body = Joined(device_id="d", member="studio", federation_id="f", federation="Museums").model_dump_json()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    with serving(Server) as server:
        asked = {"server": server, "code": "code-code-code", "device": "studio-pc", "dataset": dataset}
        with store.begin() as session:
            job = jobs.add(session, memberships.JOIN, server, asked, 0, store.clock())
        joining.do(store, ClientSettings(folder=store.folder), job)
    assert seen == [(server, 1)], "a worker that is killed now has told it"
    assert [(line.membership_id, line.times) for line in sendings.listed(store, EVERYTHING, 10)] == [(job.id, 1)]


def test_what_is_taken_back_takes_nothing_from_another_line(store: Store) -> None:
    joined(store)
    take_back = sendings.note(store, None, Leaving("POST", "/api/v1/join", 300), "http://127.0.0.1:9")
    sendings.forget_unjoined(store)
    sendings.note(store, MEMBERSHIP, Leaving("GET", "/api/v1/work", 300))
    take_back()
    assert [line.times for line in sendings.listed(store, EVERYTHING, 10)] == [1]


def test_a_line_that_still_grows_stays_in_its_place_and_says_from_when_to_when(visitor: Visitor, log: Store) -> None:
    now = log.clock()
    with log.begin() as session:
        session.execute(text("UPDATE sending SET at = :at + id, until = :at + id"), {"at": now - 2 * DAY})
        session.execute(text("UPDATE sending SET until = :now WHERE id = 1"), {"now": now})
    shown = lines(visitor.client.get("/federations/sent").text)
    assert shown[-1].startswith("2 days ago \N{EN DASH} just now Questions for work")
    assert all(line.startswith("2 days ago") and "\N{EN DASH}" not in line for line in shown[:-1]), "once"


def test_what_left_is_added_up_by_run_where_it_was_for_several(visitor: Visitor, log: Store) -> None:
    sendings.note(log, MEMBERSHIP, Leaving("GET", "/api/v1/files/ab", 250, "r1", 1))
    sums = visitor.client.get("/federations/sent").text.partition('id="by-run"')[2].partition("</section>")[0]
    told = [" ".join(each.split()) for each in re.findall(r"<d[td]>(.*?)</d[td]>", sums, re.DOTALL)]
    assert dict(zip(told[::2], told[1::2], strict=True)) == {
        "autumn, Museums": "100,950 bytes in 3 requests", "Museums, for no run": "300 bytes in 1 request",
        "=1+1, Clinics": "100,701 bytes in 2 requests", "Clinics, for no run": "300 bytes in 1 request",
    }  # fmt: skip
    assert told[0] == "autumn, Museums", "where something was sent last comes first"
    assert 'id="by-run"' not in visitor.client.get("/federations/sent?run=r1").text


def test_htmx_gets_the_log_alone(visitor: Visitor, log: Store) -> None:
    part = visitor.client.get("/federations/sent?what=update", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "2 lines are shown." in part


def test_the_whole_log_is_handed_on_as_numbers_and_moments_in_utc(visitor: Visitor, log: Store) -> None:
    with log.begin() as session:
        session.execute(text("UPDATE sending SET at = :at, until = :until"), {"at": 1.5, "until": DAY})
    answer = visitor.client.get("/federations/sent.jsonl")
    assert answer.mimetype == "application/jsonl"
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert told[1] == {
        "number": 2, "first": "1970-01-01T00:00:01.500Z", "last": "1970-01-02T00:00:00.000Z",
        "federation": "Museums", "member": "studio", "server": "https://x.example", "kind": "update",
        "run": "autumn", "run_id": "r1", "round": 1, "requests": 1, "bytes": 100_000,
    }  # fmt: skip
    assert told[0]["run"] is None
    assert [each["number"] for each in told] == [1, 2, 3, 4, 5, 6]
    assert told[4]["run"] == "=1+1"
    answer = visitor.client.get("/federations/sent.csv")
    day = datetime.fromtimestamp(log.clock(), UTC).date()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="fedflow-sent-{day}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [row["bytes"] for row in rows] == ["300", "100000", "700", "300", "100001", "700"]
    assert rows[4]["run"] == "'=1+1", "no spreadsheet takes it for a formula"
    assert visitor.client.get("/federations/sent.xls").status_code == 404


def test_a_federation_that_is_joined_while_the_page_is_made_stands_in_it(visitor: Visitor, log: Store) -> None:
    fresh = "01b9"

    def join(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "sum(" in statement.lower() and memberships.one(log, fresh) is None:
            joined(log, fresh)
            sendings.note(log, fresh, Leaving("GET", "/api/v1/work", 300))

    event.listen(log.engine, "before_cursor_execute", join)
    try:
        assert visitor.client.get("/federations/sent").status_code == 200
    finally:
        event.remove(log.engine, "before_cursor_execute", join)
    assert memberships.one(log, fresh) is not None


@contextmanager
def counted(store: Store) -> Iterator[list[tuple[str, object]]]:
    """Statements that are sent to the database within the block, with their values."""
    found: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        found.append((statement, values))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def test_a_page_of_a_long_log_asks_as_often_as_one_of_a_short_log_and_reads_no_more(
    visitor: Visitor, log: Store
) -> None:
    addresses = [
        f"/federations/sent?{query}before=50000"
        for query in ("", f"federation={MEMBERSHIP}&", "what=update&", f"federation={MEMBERSHIP}&run=r1&what=update&")
    ]
    short = []
    for address in addresses:
        with counted(log) as statements:
            assert visitor.client.get(address).status_code == 200
        short.append(len(statements))
    many = [
        {
            "membership_id": (MEMBERSHIP, OTHER)[number % 2],
            "at": float(number),
            "until": float(number),
            "what": ("poll", "update")[number % 3 == 0],
            "size_bytes": number,
            "times": 1,
            "run_id": ("r1", "r2")[number % 2] if number % 3 == 0 else None,
            "round": None,
        }
        for number in range(100_000)
    ]
    with log.begin() as session:
        session.execute(insert(Sending), many)
    for address, statements_before in zip(addresses, short, strict=True):
        with counted(log) as statements:
            assert len(lines(visitor.client.get(address).text)) == 50
        assert len(statements) == statements_before
        [(paged, values)] = [each for each in statements if "sending" in each[0] and "LIMIT" in each[0]]
        with log.read() as session:
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {paged}", values).all()
        steps = [row[-1] for row in plan]
        assert all(step.startswith("SEARCH sending USING ") for step in steps), steps


def test_a_long_log_is_handed_on_a_piece_at_a_time(
    visitor: Visitor, log: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sendings, "BATCH", 4)
    with counted(log) as statements:
        answer = visitor.client.get("/federations/sent.jsonl")
        told = answer.text.splitlines()
    assert len(told) == 6
    assert len([each for each, _ in statements if "FROM sending" in each]) == 2
