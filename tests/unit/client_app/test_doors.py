"""Who gets into the app."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.unit.client_app.conftest import Visitor

from fedflow.client import reach
from fedflow.client.app import create_app
from fedflow.client.serve import serve
from fedflow.client.services import drawings, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.errors import MistakeError

GOOD = "seven odd walruses hum"
PAGES = ("/", "/drawn", "/gallery", "/activity")


@pytest.mark.parametrize("page", PAGES)
def test_another_host_name_that_leads_here_gets_nothing(visitor: Visitor, page: str) -> None:
    assert visitor.client.get(page).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8450", "[::1", "10.0.0.1"):
        answer = visitor.client.get(page, headers={"Host": host})
        assert answer.status_code == 421, host
        assert "Generate" not in answer.text


def test_a_form_of_another_site_draws_nothing(visitor: Visitor, store: Store) -> None:
    token, form = visitor.token(), {"model": "starter", "prompt": "cat", "pictures": "1"}
    assert visitor.client.post("/", data=form).status_code == 403, "without the guard"
    guarded = form | {"csrf_token": token}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert visitor.client.post("/", data=guarded, headers=headers).status_code == 403, headers
    assert jobs.waiting(store) == []
    assert visitor.client.post("/", data=guarded, headers={"Origin": "http://localhost"}).status_code == 303
    assert len(jobs.waiting(store)) == 1


def test_beyond_this_machine_a_password_is_asked_for(store: Store) -> None:
    settings = ClientSettings(folder=store.folder, host="0.0.0.0", password="correct horse")  # noqa: S104, S106
    visitor = Visitor(create_app(store, settings).test_client())
    for page in (*PAGES, "/gallery/x", "/pictures/x.png", "/activity/stream"):
        answer = visitor.client.get(page)
        assert (answer.status_code, answer.location) == (303, "/password"), page
    assert visitor.post("/", prompt="cat").location == "/password"
    assert visitor.post("/password", password="wrong").status_code == 422  # noqa: S106
    assert visitor.client.get("/").status_code == 303
    assert visitor.post("/password", password="correct horse").status_code == 303  # noqa: S106
    assert visitor.client.get("/").status_code == 200
    other = ClientSettings(folder=store.folder, host="0.0.0.0", password="another one")  # noqa: S104, S106
    stale = create_app(store, other).test_client()
    stale.set_cookie("fedflow_told", visitor.client.get_cookie("fedflow_told").value)  # type: ignore[union-attr]
    assert stale.get("/").status_code == 303, "a new password ends what the old one opened"


def test_without_a_password_it_does_not_listen_beyond_this_machine(store: Store) -> None:
    with pytest.raises(MistakeError, match="FEDFLOW_CLIENT_PASSWORD"):
        serve(ClientSettings(folder=store.folder, host="0.0.0.0", port=0), opens_browser=False)  # noqa: S104


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "has 5 characters; take at least 12"),
        ("passwordpassword", "is easily guessed; take a longer one, such as four or five unusual words"),
        ("fedflowfedflow", "is easily guessed"),
        ("x" * 201, "take at most 200"),
    ],
)
def test_a_weak_password_does_not_open_it_to_the_network(store: Store, password: str, said: str) -> None:
    settings = ClientSettings(folder=store.folder, host="0.0.0.0", port=0, password=password)  # noqa: S104
    with pytest.raises(MistakeError, match=f"FEDFLOW_CLIENT_PASSWORD: .*{said}"):
        serve(settings, opens_browser=False)


def test_signing_out_ends_what_every_browser_carries(store: Store) -> None:
    settings = ClientSettings(folder=store.folder, host="0.0.0.0", password=GOOD)  # noqa: S104
    one, other = (Visitor(create_app(store, settings).test_client()) for _ in range(2))
    for each in (one, other):
        assert "Sign out" not in each.client.get("/password").text
        each.post("/password", password=GOOD)
        assert 'action="/sign-out"' in each.client.get("/").text
    copied = one.client.get_cookie("fedflow_told")
    assert copied is not None
    assert one.post("/sign-out").location == "/password?out=1"
    one.client.set_cookie("fedflow_told", copied.value)
    for each in (one, other):
        assert each.client.get("/gallery").location == "/password"
        part = each.client.get("/activity", headers={"HX-Request": "true"})
        assert (part.headers["HX-Redirect"], part.data) == ("/password", b""), "no password's page inside another"
    one.post("/password", password=GOOD)
    assert one.client.get("/gallery").status_code == 200


def test_without_a_password_there_is_nothing_to_sign_out_of(visitor: Visitor) -> None:
    assert "/sign-out" not in visitor.client.get("/").text


def test_the_start_tells_an_address_that_can_be_opened() -> None:
    told = reach.told("127.0.0.1", 8450, is_private=True)
    assert told == "FedFlow is open at http://127.0.0.1:8450; Ctrl-C ends it."
    for host in reach.EVERYWHERE:
        told = reach.told(host, 8450, is_private=False)
        name = reach.own_address(host)
        assert name not in reach.EVERYWHERE
        assert f"http://{f'[{name}]' if ':' in name else name}:8450;" in told
        assert "not encrypted" in told
        assert "TLS" in told
    assert "http://[fd00::1]:80;" in reach.told("fd00::1", 80, is_private=False)


def test_every_answer_lets_nothing_run_that_the_app_did_not_bring(visitor: Visitor, store: Store) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    drawings.ask(store, drawings.DrawRequest(prompt=hostile))
    for page in PAGES:
        answer = visitor.client.get(page)
        assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
        assert hostile not in answer.text
    assert "&lt;script&gt;alert(1)" in visitor.client.get("/activity").text


def test_the_app_imports_no_torch() -> None:
    code = "import sys, fedflow.client.serve; assert 'torch' not in sys.modules; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_there_and_what_fails_is_one_sentence(visitor: Visitor, store: Store) -> None:
    for address in ("/nothing", "/gallery/nothing", "/pictures/nothing.png"):
        answer = visitor.client.get(address)
        assert answer.status_code == 404
        assert "There is no such page here" in answer.text
    store.engine.dispose()
    (store.folder / "client.db").unlink()
    (store.folder / "client.db").mkdir()  # as a folder that cannot be written: root may write everywhere
    answer = visitor.client.get("/gallery")
    assert answer.status_code == 507
    assert "Free space on its disk" in answer.text
    assert "Traceback" not in answer.text
