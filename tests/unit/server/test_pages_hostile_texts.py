"""Texts that want to be code, in every field that takes a text, seen in a real Chromium on every page: nothing runs.

They come in as anybody would bring them: by the API and by forms. Every page for GET in the app's map of addresses is
visited with identifiers of things that carry them; a page that cannot be visited fails the test. Beside "nothing ran,
and the policy stopped nothing" the page itself is looked at: no element and no attribute may have come of a text.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from browser import Watched, chromium
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from playwright.sync_api import Browser
from safetensors.torch import load
from tests.unit.server.conftest import Api, Machine
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import PASSWORD, Reader
from tests.unit.server.run_setting import MEASURED, MEMBERS, Setting, adapter
from tests.unit.server.test_rights import Walk, _pages
from werkzeug.serving import make_server

from fedflow.server.database.people import Person
from fedflow.server.database.tables import Artifact, Import, Job, Run, Version
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import Unprocessable
from fedflow.server.services import accounts, identity, invitations, jobs, links, registry, runs, scores, uploads
from fedflow.server.services import federations as federations_service
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.tensors import to_bytes

CORPUS = (
    "<script>mark(1)</script>",
    "<img src=x onerror=mark(2)>",
    '"><svg onload=mark(3)>',
    "'><details open ontoggle=mark(4)>",
    "{{constructor.constructor('mark(5)')()}}",
    "<b x-data x-init=mark(6) hx-on::load=mark(6)>b",
    "javascript:mark(7)//",
    "</textarea></title></style></script><script>mark(8)</script>",
    "<a href=javascript:mark(9) autofocus onfocus=mark(9)>a",
    "&lt;img src=x onerror=mark(10)&gt;",
    '[a](javascript:mark(11)) ![b](x"onerror="mark(11))',
    "--><iframe srcdoc=<script>parent.mark(12)</script>>",
)
ALL = " ".join(CORPUS)
SHORT = "\"'><img src=x onerror=mark(0)>{{mark(0)}}<b x-init=mark(0)>"
"""Of all kinds, where a field takes one short text."""

FILL = """(text) => {
  const form = document.querySelector("main form[method=post]");
  for (const field of form.querySelectorAll("input, textarea")) {
    if (field.type === "number") field.value = "-1";
    else if (["text", "email", "search"].includes(field.type) || field.tagName === "TEXTAREA") field.value = text;
    else continue;
    field.dispatchEvent(new Event("input", {bubbles: true}));
  }
}"""
SEND = "document.querySelector('main form[method=post]').submit()"

WATCH = "window.ran = []; window.mark = (which) => window.ran.push(which);"

CAME_OF_A_TEXT = """() => {
  const found = [];
  for (const element of document.querySelectorAll("*")) {
    if (element.tagName === "SCRIPT" && element.textContent.includes("mark(")) found.push(element.outerHTML);
    for (const {name, value} of element.attributes) {
      const is_code = /^(on|x-|:|@|hx-on|srcdoc|hx-vals|hx-vars)/.test(name);
      const is_address = ["href", "src", "action", "formaction", "data", "xlink:href"].includes(name);
      if (is_code && value.includes("mark(")) found.push(element.outerHTML);
      if (is_address && /^\\s*(javascript|data|vbscript):/i.test(value)) found.push(element.outerHTML);
    }
  }
  return found;
}"""
"""Elements and attributes that are somebody's text taken for the page's own."""

ELSEWHERE = {"pages.provider.leaves", "pages.provider.returns"}
"""Led to the OpenID provider, which this server has not; their page is an error's, as /nowhere."""
WITHDRAWN = "pages.releases.one, withdrawn"
LINKS: dict[str, links.Purpose] = {"pages.entry.password_page": "password", "pages.entry.address_page": "address"}


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data", open_registration=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclass
class Planted:
    """What was planted, and by which identifiers its pages are reached."""

    api: Api
    reader: Reader
    store: Store
    federation_id: str
    parts: dict[str, str] = field(default_factory=dict)

    def sent(self, method: str, path: str, body: dict[str, object]) -> dict[str, str]:
        """What the API answers to a text; it must take it, or nothing would be shown."""
        answer = self.api(method, f"/api/v1{path}", json=body)
        assert answer.status_code < 300, (path, body, answer.text)
        return dict(answer.json or {})


def member_names() -> list[str]:
    """Those of the corpus that may name a folder."""
    return [text[:80] for text in CORPUS if "/" not in text and "\\" not in text] + [SHORT[:80]]


def plant_people(planted: Planted, site: Site) -> None:
    for number, text in enumerate(CORPUS):
        code = invitations.make(planted.store, SERVER, planted.federation_id, "viewer")
        who = site.reader()
        made = who.post(
            f"/invitation/{code}", {"name": text[:80], "email": f"p{number}@example.org", "password": PASSWORD}
        )
        assert made.status_code == 303, text
        planted.sent("POST", "/me/tokens", {"name": text[:80], "scopes": ["read"]})
        agent = {"User-Agent": f"{text} Firefox"}
        again = Reader.of(site.app)
        again.post("/sign-in", {"email": "boss@example.org", "password": PASSWORD}, headers=agent)
    invited = {"role": "participant", "member": member_names()[0], "email": '"<img/src=x>"@example.org'}
    answer = planted.api("POST", f"/api/v1/federations/{planted.federation_id}/invitations", json=invited)
    assert answer.status_code in (201, 422), answer.text
    made_code = planted.sent(
        "POST", f"/federations/{planted.federation_id}/invitations", {"role": "participant", "member": SHORT[:80]}
    )
    planted.parts["code"] = made_code["code"]
    planted.parts["invitation_id"] = invitations.listed(planted.store, planted.federation_id)[-1].id
    planted.parts["person_id"] = _person(planted.store, "p1@example.org")
    assert planted.reader.post("/account", {"name": SHORT, "locale": ""}).status_code == 303


def plant_federations(planted: Planted) -> None:
    for text in CORPUS:
        assert planted.reader.post("/federations/new", {"name": text[:80]}).status_code == 303


def plant_members(planted: Planted) -> None:
    for name, device in zip(member_names(), itertools.cycle(CORPUS)):
        code = planted.sent("POST", f"/federations/{planted.federation_id}/codes", {"member": name})["code"]
        key = Machine(planted.store, Ed25519PrivateKey.generate()).public_key
        joined = planted.sent(
            "POST", "/join", {"code": code, "device_name": device[:80], "public_key": key, "version": SHORT[:40]}
        )
        planted.parts["device_id"] = joined["device_id"]
    planted.sent("POST", f"/federations/{planted.federation_id}/codes", {"member": SHORT[:80]})
    found = federations_service.members(planted.store, planted.federation_id)
    planted.parts["member_id"] = next(each.id for each in found if each.name == member_names()[-1])


def plant_run(planted: Planted, setting: Setting) -> None:
    """A run with such a name; of another one member declines with such a reason, and one's update is refused."""
    plan = {
        "name": SHORT,
        "rounds": 2,
        "data": {"clients": list(MEMBERS), "trigger": SHORT[:40]},
        "network": {"deadline_s": 100.0, "quorum": 2},
    }
    planted.sent("POST", "/runs", {"federation_id": planted.federation_id, "plan": plan})
    runs.consent(planted.store, setting.callers["c"], setting.run, accept=False, num_examples=1, reason=ALL[:400])
    with pytest.raises(Unprocessable, match="mark"):
        setting.hand_in("a", 1, to_bytes({**load(adapter(1)), SHORT: torch.zeros(2, 2)}, {"format": "pt"}))
    with planted.store.begin() as session:
        run = session.get_one(Run, setting.run)
        run.prepared = {**(run.prepared or {}), "scored": True}
        scores.ask(session, planted.store, run, 0)
    picture = planted.store.blobs.put(PNG)
    asked_for = jobs.waiting(planted.store, ("evaluate",))
    assert asked_for
    for job_id in asked_for:
        with planted.store.read() as session:
            asked = scores.to_score(planted.store, session.get_one(Job, job_id))
        assert asked is not None
        prompts, pictures = list(CORPUS), [picture] * len(CORPUS)
        drawn = replace(MEASURED, features=planted.store.blobs.put(b"features"), prompts=prompts, gallery=pictures)
        measured = replace(drawn, extractor=SHORT, resize=SHORT)
        scores.keep(planted.store, setting.run, asked, measured)
    planted.parts |= {"run_id": setting.run, "sha256": picture, "number": "1"}


def plant_models(planted: Planted) -> None:
    [artifact] = registry.artifacts(planted.store, SERVER, registry.MODEL, "", 1)
    version: Version = registry.versions(planted.store, SERVER, artifact.id, 0, 1)[0]
    said = {"licence": SHORT, "card": "\n\n".join(CORPUS), "trigger_words": [text[:80] for text in CORPUS]}
    planted.sent("PUT", f"/artifacts/{artifact.id}", said)
    with planted.store.begin() as session:
        session.get_one(Version, version.id).files = {"checkpoint": version.content}
        session.get_one(Artifact, artifact.id).examples = [planted.parts["sha256"]]
    path = f"/versions/{version.id}/releases"
    notes = "\n\n".join(CORPUS)
    released, withdrawn = (planted.sent("POST", path, {"tag": tag, "notes": notes}) for tag in ("first", "second"))
    withdrawn_id = next(each["id"] for each in withdrawn["items"] if each["tag"] == "second")  # type: ignore[index]
    planted.sent("POST", f"/releases/{withdrawn_id}/withdraw", {"reason": ALL[:300]})
    with planted.store.begin() as session:  # as a worker leaves one that failed
        row = Import(id=new_id(), federation_id=planted.federation_id, kind="adapter", name=SHORT, source="upload")
        row.place, row.phase, row.message, row.created_at = SHORT, "failed", f"'{ALL}': is no adapter", 0.0
        session.add(row)
    planted.parts["import_id"] = row.id
    boss = Caller("person", _person(planted.store, "boss@example.org"))
    planted.parts |= {
        "artifact_id": artifact.id,
        "version_id": version.id,
        "release_id": released["items"][0]["id"],  # type: ignore[index]
        "withdrawn_id": withdrawn_id,
        "layout": "checkpoint",
        "upload_id": uploads.create(planted.store, boss, 10, "", 100, 60.0).id,
    }


def plant_tryout(planted: Planted) -> None:
    """As a worker leaves one that failed after its first picture."""
    with planted.store.begin() as session:
        row = Tryout(id=new_id(), release_id=planted.parts["release_id"], prompt=ALL[:500], negative=SHORT)
        row.person_id, row.pictures = _person(planted.store, "boss@example.org"), [planted.parts["sha256"]]
        row.count, row.steps, row.seed, row.strength, row.guidance, row.attempt = 2, 1, 1, 1.0, 1.0, 1
        row.status, row.message, row.steps_done, row.spent, row.asked_at = "failed", SHORT, 1, 2, 0.0
        session.add(row)
    planted.parts["tryout_id"] = row.id


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000"
    "000049454e44ae426082"
)


def _person(store: Store, email: str) -> str:
    with store.read() as session:
        return session.query(Person.id).filter(Person.email == email).scalar()


@pytest.fixture
def planted(app: Flask, store: Store, federation_id: str, setting: Setting) -> Planted:
    site = Site.of(app, store)
    token = identity.first_coordinator(store) or (store.folder / identity.TOKEN_FILE).read_text().strip()
    accounts.register(store, "boss", "boss@example.org", PASSWORD, invitations.first(store), "")
    reader = Reader.of(app)
    assert reader.sign_in("boss").status_code == 303
    planted = Planted(Api(app.test_client(), token), reader, store, federation_id)
    plant_people(planted, site)
    plant_federations(planted)
    plant_members(planted)
    plant_run(planted, setting)
    plant_models(planted)
    plant_tryout(planted)
    assert reader.post("/account/second-factor", {"password": PASSWORD}).status_code == 303  # its page is there now
    return planted


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The app on a port of this machine, with a thread for each request."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False  # those that stream to a page are waited for
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def addresses(planted: Planted, walk: Walk) -> Iterator[tuple[str, str]]:
    """Endpoint and address of every page for GET; of what is planted where the address names it, else of the walk's."""
    for endpoint, method, rule in _pages(walk.app):
        if method != "GET" or endpoint == "web.asset" or endpoint in ELSEWHERE:
            continue
        names = re.findall(r"<(?:\w+:)?(\w+)>", rule)
        if endpoint in LINKS:
            code = links.make(planted.store, SERVER, planted.parts["person_id"], LINKS[endpoint])
            yield endpoint, rule.replace("<code>", code)
        elif set(names) <= planted.parts.keys():
            yield endpoint, re.sub(r"<(?:\w+:)?(\w+)>", lambda match: planted.parts[match[1]], rule)
        else:
            yield endpoint, walk.path(endpoint, rule, None)
    yield WITHDRAWN, f"/releases/{planted.parts['withdrawn_id']}"


def test_no_text_of_anybody_runs_on_any_page(
    app: Flask, planted: Planted, setting: Setting, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedflow.server.pages.runs.STREAM_S", 0.0)
    walk = Walk(app, planted.store, planted.federation_id, setting)
    planted.parts["federation_id"] = planted.federation_id
    reader, shown, refused, dialogs = planted.reader, {}, {}, []
    pages = {}
    for endpoint, path in addresses(planted, walk):
        found = reader.get(path, buffered=True)
        assert found.status_code in (200, 303), f"{endpoint} has no way to be visited: {path} is {found.status}"
        if found.status_code == 200 and found.mimetype == "text/html":
            pages[endpoint] = path
    monkeypatch.setattr("fedflow.server.pages.runs.STREAM_S", 2.0)
    with served(app) as at:
        context = browser.new_context(base_url=at, locale="en")
        context.add_cookies([{"name": "fedflow_sign_in", "value": str(reader.cookie()), "url": at}])
        context.add_init_script(WATCH)
        watched = Watched(context)
        page = watched.page
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for endpoint, path in pages.items():
            page.goto(path, wait_until="load")
            shown[endpoint] = page.content().count("mark(")
            assert page.evaluate(CAME_OF_A_TEXT) == [], path
            assert page.evaluate("window.ran") == [], path
            assert watched.policy_reports() == [], path
            assert watched.complaints == [], path
        for endpoint in FORMS:
            page.goto(pages[endpoint], wait_until="load")
            page.evaluate(FILL, SHORT)
            page.wait_for_timeout(CHECKED_MS)  # what is checked, or previewed, as one types
            assert page.evaluate(CAME_OF_A_TEXT) == [], endpoint
            with page.expect_navigation(wait_until="load"):
                page.evaluate(SEND)
            refused[endpoint] = page.locator("main").inner_html().count("mark(")
            assert page.evaluate(CAME_OF_A_TEXT) == [], endpoint
            assert page.evaluate("window.ran") == [], endpoint
            assert watched.policy_reports() == [], endpoint
        assert [each for each in watched.complaints if "422" not in each] == []
        assert all(refused.values()), "nothing of what was typed stands in the answer: nothing was seen"
        stranger = Watched(browser.new_context(base_url=at, locale="uk"))  # a page for who has no account yet
        stranger.page.goto(f"/invitation/{planted.parts['code']}")
        assert stranger.page.evaluate(CAME_OF_A_TEXT) == []
        stranger.check_quiet()
        context.close()
        stranger.page.context.close()
    assert dialogs == []
    assert len(pages) > 25
    carrying = {endpoint for endpoint, count in shown.items() if count}
    assert carrying >= MUST_CARRY, f"nothing planted is seen on {sorted(MUST_CARRY - carrying)}"
    assert shown[WITHDRAWN] > shown["pages.releases.one"], "why a release was withdrawn is not seen"


CHECKED_MS = 1500
FORMS = (
    "pages.new_run.form",
    "pages.tryouts.page",
    "pages.inviting.form",
    "pages.imports.form",
    "pages.models.form",
)
"""Pages whose form is filled with what means harm, and is refused."""

MUST_CARRY = {
    "pages.audit.everything",
    "pages.people.everybody",
    "pages.people.team",
    "pages.runs.listed",
    "pages.runs.run",
    "pages.tokens.own",
    "pages.security.overview",
    "pages.account.profile",
    "pages.federations.listed",
    "pages.federations.devices",
    "pages.joining.member",
    "pages.joining.codes",
    "pages.models.one",
    "pages.models.form",
    "pages.imports.listed",
    "pages.releases.one",
    "pages.tryouts.one",
    "pages.tryouts.own",
    "pages.tryouts.page",
}
"""Pages that show texts of others: a test that plants none there would see nothing either."""
