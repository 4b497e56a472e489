"""Every route walked as nobody, as a device, as each role, as a stranger: what is answered is what the table says."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
from flask import Flask
from tests.unit.server.conftest import Api, Machine
from tests.unit.server.reader import Reader, told
from tests.unit.server.run_setting import Setting

from fedflow.errors import RunError
from fedflow.server.api import admission, rights
from fedflow.server.database.people import PersonToken, RoleName
from fedflow.server.database.tables import Import, Version
from fedflow.server.database.tryouts import Tryout
from fedflow.server.services import (
    accounts,
    devices,
    federations,
    identity,
    invitations,
    registry,
    releases,
    roles,
    tokens,
)
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SCOPES, SERVER, Caller
from fedflow.server.services.roles import ROLES
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's


@pytest.fixture
def settings(tmp_path) -> ServerSettings:  # type: ignore[no-untyped-def]
    """The services are tested on both databases; routes on one."""
    return ServerSettings(folder=tmp_path / "data")


@dataclass
class Walk:
    """A federation with one of everything, and people of every role in it."""

    app: Flask
    store: Store
    federation_id: str
    setting: Setting

    def person(self, name: str, federation_id: str, role: RoleName) -> Caller:
        member = "a" if role == "participant" else None
        code = invitations.make(self.store, SERVER, federation_id, role, member=member)
        return Caller("person", accounts.register(self.store, name, f"{name}@example.org", PASSWORD, code, ""))

    def api(self, caller: Caller, scopes: tuple[identity.Scope, ...] = SCOPES) -> Api:
        return Api(self.app.test_client(), tokens.make(self.store, caller, "walk", scopes, 3600.0))

    def path(self, endpoint: str, rule: str, caller: Caller | None) -> str:
        """The rule's address with identifiers of things that are there, new ones where the route uses them up."""
        parts = {"federation_id": self.federation_id, "run_id": self.setting.run, "number": "1", "filename": "x"}
        if "<person_id>" in rule:
            name = f"victim{len(roles.holders(self.store, self.federation_id))}"
            parts["person_id"] = self.person(name, self.federation_id, "viewer").id
        if "<invitation_id>" in rule:
            invitations.make(self.store, SERVER, self.federation_id, "viewer")
            parts["invitation_id"] = invitations.listed(self.store, self.federation_id)[-1].id
        if "<token_id>" in rule and caller is not None and caller.kind == "person":
            tokens.make(self.store, caller, "victim", ("read",), 60.0)
            own = tokens.listed(self.store, caller)
            parts["token_id"] = next(each.id for each in own if each.name == "victim")
        if "<member_id>" in rule or "<device_id>" in rule:
            machine = Machine(self.store)
            machine.join(devices.new_code(self.store, self.federation_id, "victim", 5, ttl_s=60))
            parts["device_id"] = machine.device_id
            found = federations.members(self.store, self.federation_id)
            named = "a" if endpoint == "pages.joining.shows_counts" else "victim"  # a participant's own is 'a'
            parts["member_id"] = next(member.id for member in found if member.name == named)
        if "<sha256>" in rule or "<artifact_id>" in rule or "<version_id>" in rule:
            version = self.spare() if endpoint == "pages.versions.deletes" else self.version()
            parts |= {"sha256": version.content, "artifact_id": version.artifact_id, "version_id": version.id}
        if "<import_id>" in rule:
            parts["import_id"] = self.brought(caller)
        if "<release_id>" in rule:
            parts |= {"release_id": self.release(), "layout": "kohya"}
        if "<tryout_id>" in rule:
            parts["tryout_id"] = self.tryout(caller)
        if endpoint == "uploads.options":
            parts["upload_id"] = "x"
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: parts.get(match[1], "x"), rule)

    def brought(self, caller: Caller | None) -> str:
        """An import that the caller has asked for, or the server."""
        with self.store.begin() as session:
            row = Import(id=new_id(), federation_id=self.federation_id, kind="adapter", name="x", source="upload")
            row.asked_by = caller.id if caller is not None and caller.kind == "person" else None
            row.place, row.phase, row.message, row.created_at = "x", "failed", "", 0.0
            session.add(row)
            return row.id

    def tryout(self, caller: Caller | None) -> str:
        """One of the caller's own, with a picture; of who is no person the server's first coordinator's."""
        sha256, release_id = self.version().content, self.release()
        with self.store.begin() as session:
            row = Tryout(id=new_id(), release_id=release_id, prompt="x", negative="", pictures=[sha256])
            row.person_id = caller.id if caller is not None and caller.kind == "person" else identity.FIRST
            row.count, row.steps, row.seed, row.strength, row.guidance, row.attempt = 2, 1, 1, 1.0, 1.0, 1
            row.status, row.message, row.steps_done, row.spent, row.asked_at = "waiting", "", 1, 2, 0.0
            session.add(row)
            return row.id

    def release(self) -> str:
        """A new one, since its version may be gone by now."""
        base = self.version()
        with self.store.begin() as session:
            row = session.get_one(Version, base.id)
            row.files = {"kohya": row.content}
        tag = f"v{len(releases.listed(self.store, SERVER, base.artifact_id))}"
        return releases.release(self.store, SERVER, base.id, tag, "")

    def spare(self) -> Version:
        """A version that nothing depends on."""
        known = self.version()
        with self.store.begin() as session:
            artifact = registry.artifact_of(session, self.store, self.federation_id, registry.MODEL, "spare")
            return registry.add(session, self.store, artifact, content=known.content, facts={})

    def version(self) -> Version:
        artifact = registry.artifacts(self.store, SERVER, registry.MODEL, "", 1)[0]
        return registry.versions(self.store, SERVER, artifact.id, 0, 1)[0]


@pytest.fixture
def walk(app: Flask, store: Store, federation_id: str, setting: Setting) -> Walk:
    identity.first_coordinator(store)
    return Walk(app, store, federation_id, setting)


def _is_refused(status: int, message: str) -> bool:
    """Whether it is the table's no, and not the route's own answer to a request without content."""
    return status in (401, 403) or (status == 404 and message.startswith("there is no"))


def _walked(walk: Walk, api: Api, caller: Caller | None) -> dict[str, bool]:
    """By endpoint and method, whether the caller was let in."""
    let_in = {}
    for rule in walk.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if rule.endpoint.split(".")[0] in ("openapi", "swagger", "uploads", "pages", "web"):
                continue
            path = walk.path(rule.endpoint, rule.rule, caller)
            body = {"federation_id": walk.federation_id} if rule.endpoint == "runs.create" else {}
            answer = api(method, path, json=body) if method in ("POST", "PUT") else api(method, path)
            told = answer.get_json(silent=True) or {}
            message = told.get("error", {}).get("message", "") if isinstance(told, dict) else ""
            assert answer.status_code < 500, (method, path, message)
            let_in[f"{rule.endpoint} {method}"] = not _is_refused(answer.status_code, message)
    return let_in


OF_ONES_TRYOUT = {
    *(f"tryouts.{act}" for act in ("one", "picture", "cancel", "again", "delete")),
    *(f"pages.tryouts.{act}" for act in ("one", "picture", "cancels", "tries_again", "deletes")),
}


def _is_expected(endpoint: str, caller: Caller | None, role: RoleName | None) -> bool:
    right = rights.RIGHTS[endpoint]
    if right.who == "anyone":
        return True
    if right.who == "reader":
        may_read = caller is not None and (caller.is_admin or not right.admin)
        return may_read and _has_role(right, endpoint, role)
    if caller is None or right.who not in ("caller", caller.kind):
        return False
    if caller.kind == "device":
        return True
    if right.admin and not caller.is_admin:
        return False
    return _has_role(right, endpoint, role)


def _has_role(right: rights.Right, endpoint: str, role: RoleName | None) -> bool:
    if endpoint in OF_ONES_TRYOUT:
        return role is not None  # else the release is none that they see
    return right.role is None or roles.is_at_least(role, right.role)


NOT_WALKED = {
    "devices.join POST",  # answers 404 to what is no code
    "devices.challenge POST",
    "devices.token POST",
    "people.accept POST",
}


@pytest.mark.parametrize("who", ["nobody", "device", "stranger", *ROLES, "admin"])
def test_the_table_and_the_walk_agree(walk: Walk, who: str) -> None:
    caller: Caller | None
    role: RoleName | None = None
    if who == "nobody":
        caller, api = None, Api(walk.app.test_client())
    elif who == "device":
        machine = Machine(walk.store)
        machine.join(devices.new_code(walk.store, walk.federation_id, "walker", 5, ttl_s=60))
        caller, api = identity.authenticate(walk.store, machine.token()), Api(walk.app.test_client(), machine.token())
    elif who == "admin":
        caller = Caller("person", identity.FIRST, is_admin=True)
        role, api = "administrator", walk.api(caller)
    elif who == "stranger":
        caller = walk.person("stranger", federations.create(walk.store, "other"), "administrator")
        api = walk.api(caller)
    else:
        role = next(each for each in ROLES if each == who)
        caller = walk.person("walker", walk.federation_id, role)
        api = walk.api(caller)
    expected, walked = {}, {}
    for route, let_in in _walked(walk, api, caller).items():
        if route in NOT_WALKED:
            continue
        endpoint = route.split()[0]
        expected[route], walked[route] = _is_expected(endpoint, caller, role), let_in
        if endpoint == "files.content":  # a list of one: what is shared in one's federations, weights here
            expected[route] = who in (*ROLES[1:], "admin", "device")
    differing = {route: walked[route] for route in walked if walked[route] != expected[route]}
    assert differing == {}
    assert len(walked) > 40


TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
THINGS_OF_ONE = ("<tryout_id>", "<token_id>", "<import_id>", "<upload_id>")


def test_nobody_reaches_what_is_anothers_alone(walk: Walk) -> None:
    """Try-outs, tokens and uploads of a member of the same federation, for an administrator of the server too."""
    owner = walk.person("owner", walk.federation_id, "participant")
    admin = Caller("person", identity.FIRST, is_admin=True)
    api, walked = walk.api(admin), []
    upload_id = _begun_upload(walk, walk.api(owner))
    for rule in walk.app.url_map.iter_rules():
        part = next((each for each in THINGS_OF_ONE if each in rule.rule), None)
        if part in (None, "<import_id>") or rule.endpoint.startswith("pages."):
            continue
        path = re.sub("<upload_id>", upload_id, rule.rule) if part == "<upload_id>" else None
        path = path or walk.path(rule.endpoint, rule.rule, owner)
        overrides = {"X-HTTP-Method-Override": "PATCH"} if rule.endpoint == "uploads.overridden" else {}
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            answer = api(method, path, headers=TUS | overrides, data=b"x")
            assert answer.status_code == 404, (method, path, answer.status_code)
            walked.append((rule.endpoint, method))
    assert {endpoint.split(".")[0] for endpoint, _ in walked} == {"tryouts", "people", "uploads"}
    stranger = walk.person("stranger", federations.create(walk.store, "other"), "administrator")
    assert walk.api(stranger)("GET", f"/api/v1/imports/{walk.brought(owner)}").status_code == 404


def _begun_upload(walk: Walk, api: Api) -> str:
    answer = api("POST", "/api/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "10"})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def test_a_device_of_another_federation_reaches_nothing_of_this_one(walk: Walk) -> None:
    machine = Machine(walk.store)
    machine.join(devices.new_code(walk.store, federations.create(walk.store, "other"), "foreign", 5, ttl_s=60))
    caller, api = identity.authenticate(walk.store, machine.token()), Api(walk.app.test_client(), machine.token())
    walked = _walked(walk, api, caller)
    named = {rule.endpoint for rule in walk.app.url_map.iter_rules() if rule.arguments}
    open_to_all = {endpoint for endpoint, right in rights.RIGHTS.items() if right.who == "anyone"}
    reached = {route for route, let_in in walked.items() if let_in and route.split()[0] in named - open_to_all}
    assert reached == {"work.consent POST", "work.hand_in POST"}, "their content is read first, and was none"
    answer = api("POST", f"/api/v1/runs/{walk.setting.run}/consent", json={"accept": True, "num_examples": 5})
    assert answer.status_code == 404
    update = {"sha256": "0" * 64, "num_examples": 5}
    assert api("POST", f"/api/v1/runs/{walk.setting.run}/rounds/1/update", json=update).status_code == 404


def test_a_token_of_one_federation_reaches_nothing_of_the_account(walk: Walk) -> None:
    owner = walk.person("owner", walk.federation_id, "participant")
    with walk.store.begin() as session:  # as one was made before it was refused
        text, digest = identity.new_token(identity.PERSON_PREFIX)
        row = PersonToken(hash=digest, id=new_id(), person_id=owner.id, name="old", created_at=walk.store.clock())
        row.scopes, row.federation_id = list(SCOPES), walk.federation_id
        session.add(row)
    api = Api(walk.app.test_client(), text)
    for rule in walk.app.url_map.iter_rules():
        if rights.RIGHTS[rule.endpoint] != rights.OWN:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = api(method, walk.path(rule.endpoint, rule.rule, owner), json={})
            assert answer.status_code == 403, (method, rule.rule)
            assert "your account belongs to all" in answer.get_json()["error"]["message"]


def _reader(walk: Walk, name: str | None) -> Reader:
    reader = Reader.of(walk.app)
    if name is not None:
        assert reader.sign_in(name).status_code == 303
    return reader


def _pages(app: Flask) -> list[tuple[str, str, str]]:
    """Endpoint, method and rule of every page."""
    return [
        (rule.endpoint, method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.endpoint.startswith(("pages.", "web."))
    ]


@pytest.mark.parametrize("who", ["nobody", "stranger", *ROLES, "admin"])
def test_the_table_and_the_walk_agree_on_pages(walk: Walk, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedflow.server.pages.runs.STREAM_S", 0.0)
    caller: Caller | None = None
    role = next((each for each in ROLES if each == who), "administrator" if who == "admin" else None)
    if who == "admin":
        code = invitations.first(walk.store)
        accounts.register(walk.store, "admin", "admin@example.org", PASSWORD, code, "")
        caller = Caller("person", identity.FIRST, is_admin=True)
    elif who == "stranger":
        caller = walk.person("stranger", federations.create(walk.store, "other"), "administrator")
    elif role is not None:
        caller = walk.person(who, walk.federation_id, role)
    reader = _reader(walk, None if caller is None else who)
    expected, walked = {}, {}
    for endpoint, method, rule in _pages(walk.app):
        path = walk.path(endpoint, rule, caller)
        answer = reader.get(path, buffered=True) if method == "GET" else reader.post(path)
        assert answer.status_code < 500, (method, path)
        words = told(answer) if answer.mimetype == "text/html" else ""
        refused = answer.status_code in (401, 403) or answer.headers.get("Location", "").startswith("/sign-in?")
        refused |= answer.status_code == 404 and "or you may not see it" in words
        if caller is None and rights.RIGHTS[endpoint].who == "reader":
            refused |= answer.headers.get("Location") == "/sign-in"
            assert answer.status_code == (303 if method == "GET" else 401), path
        expected[f"{endpoint} {method}"] = _is_expected(endpoint, caller, role)
        if endpoint == "pages.runs.picture":  # a list of one, as files are
            expected[f"{endpoint} {method}"] = who in (*ROLES[1:], "admin")
        walked[f"{endpoint} {method}"] = not refused
        if reader.cookie() is None and caller is not None:  # it was signed out, as it should be
            reader = _reader(walk, who)
    differing = {route: walked[route] for route in walked if walked[route] != expected[route]}
    assert differing == {}
    assert len(walked) >= 55


def test_no_page_takes_a_form_that_it_did_not_give(walk: Walk) -> None:
    accounts.register(walk.store, "admin", "admin@example.org", PASSWORD, invitations.first(walk.store), "")
    reader, elsewhere = _reader(walk, "admin"), Reader.of(walk.app)
    own, strange = reader.guard(), elsewhere.guard()
    forms = [(endpoint, rule) for endpoint, method, rule in _pages(walk.app) if method == "POST"]
    assert len(forms) > 25
    for endpoint, rule in forms:
        path = walk.path(endpoint, rule, None)
        for fields, headers in (
            ({}, {}),
            ({"csrf_token": "x"}, {}),
            ({"csrf_token": strange}, {}),
            ({"csrf_token": own}, {"Sec-Fetch-Site": "cross-site"}),
            ({"csrf_token": own}, {"Sec-Fetch-Site": "same-site"}),
        ):
            answer = reader.client.post(path, data=fields, headers=headers)
            assert answer.status_code == 403, (path, fields, headers)
            assert "The page was open for too long, and nothing was changed." in told(answer)


def test_lists_hold_what_is_the_callers_alone(walk: Walk) -> None:
    other = federations.create(walk.store, "other")
    stranger = walk.api(walk.person("stranger", other, "administrator"))
    viewer = walk.api(walk.person("viewer", walk.federation_id, "viewer"))
    for path in ("/runs", "/models", "/federations"):
        theirs = [item["id"] for item in stranger("GET", f"/api/v1{path}").json["items"]]
        ours = [item["id"] for item in viewer("GET", f"/api/v1{path}").json["items"]]
        assert len(ours) == 1
        assert theirs == ([other] if path == "/federations" else [])


@pytest.mark.parametrize(
    ("scopes", "method", "path", "let_in"),
    [
        (("read",), "GET", "/runs", True),
        (("read",), "POST", "/runs/{run}/pause", False),
        (("runs",), "POST", "/runs/{run}/pause", True),
        (("runs",), "GET", "/runs", False),
        (("runs", "read"), "POST", "/federations/{federation}/codes", False),
        (("members",), "GET", "/me/tokens", False),
    ],
)
def test_a_token_may_do_what_its_scopes_name(
    walk: Walk, scopes: tuple[identity.Scope, ...], method: str, path: str, let_in: bool
) -> None:
    api = walk.api(walk.person("boss", walk.federation_id, "administrator"), scopes)
    answer = api(method, "/api/v1" + path.format(run=walk.setting.run, federation=walk.federation_id))
    assert (answer.status_code != 403) == let_in
    if not let_in:
        assert "this token lacks the scope" in answer.json["error"]["message"]


def test_a_token_of_one_federation_sees_no_other(walk: Walk) -> None:
    other = federations.create(walk.store, "other")
    admin = Caller("person", identity.FIRST, is_admin=True)
    text = tokens.make(walk.store, admin, "narrow", ("read", "members"), 60.0, other)
    narrow = Api(walk.app.test_client(), text)
    assert [item["id"] for item in narrow("GET", "/api/v1/federations").json["items"]] == [other]
    assert narrow("GET", f"/api/v1/runs/{walk.setting.run}").status_code == 404
    assert narrow("GET", "/api/v1/audit").status_code == 403


def test_a_new_route_without_a_right_stops_the_start(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    walk.app.add_url_rule("/new", "pages.new", lambda: "new")
    with pytest.raises(RunError, match=r"no right is given for pages\.new"):
        admission.set_up(walk.app)
    monkeypatch.setitem(rights.RIGHTS, "pages.new", replace(rights.ANYONE))
    assert "pages.new" in rights.RIGHTS
