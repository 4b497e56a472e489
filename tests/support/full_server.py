"""A server's database filled as after years: federations, runs, adapters, people and a valid audit chain."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from fedflow.federation.rounds import Phase, Status
from fedflow.plan import AGGREGATED, BASE, Plan
from fedflow.server.database import people, tables, tryouts
from fedflow.server.database.base import Table
from fedflow.server.services import audit, files, identity, passwords
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.roles import ROLES
from fedflow.server.store import Store

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's
BATCH = 5000
DAY_S = 86_400.0
PROMPTS = ("red apple, food", "blue house, buildings", "green tree, plants", "grey cat, animals")
STATUSES = (Status.DONE,) * 6 + (Status.RUNNING, Status.PAUSED, Status.STOPPED, Status.FAILED)
IMPORT_PHASES = ("done", "failed", "done", "waiting", "done", "checking")
TRYOUT_STATUSES = ("done", "failed", "done", "waiting", "cancelled", "done", "running")
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 300">{}</svg>'
TABLE_OF = {"artifact": tables.Artifact, "token": people.PersonToken}
"""Of parts of addresses that are not named as their table is."""


@dataclass(frozen=True)
class Sizes:
    """How many of everything. Members and people are of each federation, rounds of each run, the rest of the server.

    `imports` are of each federation, `tryouts` of each person, all of them of their federation's newest release.
    """

    federations: int
    members: int
    people: int
    runs: int
    rounds: int
    adapters: int
    audit: int
    imports: int
    tryouts: int


@dataclass(frozen=True)
class Account:
    """Somebody who signs in with PASSWORD; `role` is 'server' for an administrator of the server."""

    email: str
    role: str
    federation_id: str


def fill(store: Store, sizes: Sizes) -> list[Account]:
    """Fill the database of a fresh server; gives its people."""
    identity.first_coordinator(store)
    store_files = _files(store)
    with store.begin() as session:
        accounts, places = _people(session, store, sizes)
    with store.begin() as session:
        names = _members(session, store, sizes, places)
        bases = _models(session, store, places, store_files)
        _runs(session, store, sizes, places, names, bases, store_files)
        _adapters(session, store, sizes, places, bases, store_files)
    with store.begin() as session:
        _imports(session, store, sizes, accounts, store_files)
        _tryouts(session, store, sizes, accounts, store_files)
    with store.begin() as session:
        _audit(session, store, sizes.audit, places)
    return accounts


def addresses(app: Flask, session: Session, who: Account, most: int) -> dict[str, list[str]]:
    """By endpoint of every GET, up to `most` addresses with identifiers of things that are there, the newest first.

    Of what is somebody's alone they are things of `who`. A part `x_id` is an identifier of the table x, of
    the federation where its rows name one. A route with a part that no table has, such as a one-time code, is left out.
    """
    found: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        parts = sorted(rule.arguments)
        choices = [_identifiers(session, part, who, most) for part in parts]
        chosen = [dict(zip(parts, each, strict=True)) for each in zip(*choices, strict=False)] if parts else [{}]
        found[rule.endpoint] = [
            re.sub(r"<(?:\w+:)?(\w+)>", lambda match, own=each: own[match[1]], rule.rule) for each in chosen
        ]
    return {endpoint: known for endpoint, known in found.items() if known}


def _identifiers(session: Session, part: str, who: Account, most: int) -> list[str]:
    federation_id = who.federation_id
    if part == "federation_id":
        return [federation_id] * most
    if part == "number":
        return ["1"] * most
    if part == "sha256":
        return list(session.scalars(select(tables.File.sha256).where(tables.File.kind == "picture").limit(most)))
    name = part.removesuffix("_id")
    table: Any = TABLE_OF.get(name) or next(
        (each.class_ for each in Table.registry.mappers if each.class_.__tablename__ == name), None
    )
    if table is None or not part.endswith("_id"):
        return []
    query = select(table.id).order_by(table.id.desc()).limit(most)
    if table is people.Person:
        query = query.join(people.Role).where(people.Role.federation_id == federation_id)
    elif table in (tables.Version, tables.Release):
        query = query.join(tables.Artifact, tables.Artifact.id == table.artifact_id)
        query = query.where(tables.Artifact.federation_id == federation_id)
    elif table is tryouts.Tryout:
        query = query.where(table.person_id == _name(who), table.status == "done")
    elif table is tables.Device:
        query = query.join(tables.Member).where(tables.Member.federation_id == federation_id)
    elif hasattr(table, "federation_id"):
        query = query.where(table.federation_id == federation_id)
    return list(session.scalars(query))


@dataclass(frozen=True)
class _Files:
    charts: dict[str, str]
    pictures: list[str]
    adapter: str
    base: str


def _files(store: Store) -> _Files:
    """Drawings of the size that a worker's have, and a few blobs that all runs and adapters name."""
    ways = [" ".join(f"{n * 7}.25,{n * seed % 290}.5" for n in range(80)) for seed in range(3, 20)]
    lines = [f'<polyline fill="none" stroke="#456" points="{way}"/>' for way in ways]
    charts = {
        measure: files.put(store, DRAWING.format(f"<!-- {measure} -->" + "".join(lines)).encode(), "chart")
        for measure in ("loss", "fid", "kid")
    }
    pictures = [files.put(store, b"\x89PNG\r\n\x1a\n" + bytes([n]) * 900, "picture") for n in range(len(PROMPTS))]
    return _Files(charts, pictures, files.put(store, b"adapter" * 99, "adapter"), files.put(store, b"[]", "base"))


def _people(session: Session, store: Store, sizes: Sizes) -> tuple[list[Account], list[str]]:
    now, hashed = store.clock(), passwords.hashed(PASSWORD)
    places = [new_id() for _ in range(sizes.federations)]
    _put(
        session,
        tables.Federation,
        ({"id": each, "name": f"federation-{n:03d}", "created_at": now} for n, each in enumerate(places)),
    )
    accounts, persons, held, tokens, browsers, invited = [], [], [], [], [], []
    for place, number in itertools.product(places, range(sizes.people)):
        identifier = new_id()
        role = ROLES[number % len(ROLES)]
        is_admin = number == sizes.people - 1
        account = Account(f"{identifier}@example.org", "server" if is_admin else role, place)
        accounts.append(account)
        persons.append(
            {
                "id": identifier,
                "name": f"Person {number} of {place[-4:]}",
                "email": account.email,
                "password": hashed,
                "is_admin": is_admin,
                "created_at": now,
                "confirmed_at": now,
                "totp_used": 0,
                "recovery": [],
            }
        )
        held.append({"person_id": identifier, "federation_id": place, "role": role, "created_at": now})
        tokens += [
            {
                "hash": _digest(f"token {identifier} {n}"),
                "id": new_id(),
                "person_id": identifier,
                "name": f"token {n}",
                "scopes": ["read"],
                "created_at": now,
                "expires_at": now + DAY_S,
            }
            for n in range(number % 3 + sizes.people // 8)
        ]
        browsers += [
            {
                "hash": _digest(f"browser {identifier} {n}"),
                "id": new_id(),
                "person_id": identifier,
                "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "address": "192.0.2.7",
                "created_at": now,
                "seen_at": now - 600.0 * n,
                "fresh_at": now,
            }
            for n in range(number % 3 + sizes.people // 8)
        ]
        invited.append(
            {
                "hash": _digest(f"invitation {identifier}"),
                "id": new_id(),
                "federation_id": place if number % 2 else None,
                "role": "viewer" if number % 2 else None,
                "is_admin": False,
                "created_by": identifier,
                "created_at": now,
                "expires_at": now + DAY_S,
            }
        )
    _put(session, people.Person, persons)
    _put(session, people.Role, held)
    _put(session, people.PersonToken, tokens)
    _put(session, people.SignIn, browsers)
    _put(session, people.Invitation, invited)
    return accounts, places


def _members(session: Session, store: Store, sizes: Sizes, places: list[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Members with a device each: identifier, name and device by federation."""
    now = store.clock()
    names = {
        place: [(new_id(), f"studio-{number:03d}", new_id()) for number in range(sizes.members)] for place in places
    }
    every = [(place, *member) for place, members in names.items() for member in members]
    _put(
        session,
        tables.Member,
        (
            {"id": identifier, "federation_id": place, "name": name, "max_examples": 500, "created_at": now}
            for place, identifier, name, _ in every
        ),
    )
    _put(
        session,
        tables.Device,
        (
            {
                "id": device,
                "member_id": identifier,
                "name": "studio-pc",
                "public_key": "A" * 44,
                "version": "0.1.0",
                "created_at": now,
                "seen_at": now - 30.0,
                "doing": {},
            }
            for _, identifier, _, device in every
        ),
    )
    _put(
        session,
        tables.JoinCode,
        (
            {
                "hash": _digest(f"code {identifier}"),
                "federation_id": place,
                "member_name": f"new-{name}",
                "max_examples": 500,
                "created_at": now,
                "expires_at": now + DAY_S,
            }
            for place, identifier, name, _ in every
        ),
    )
    return names


def _models(session: Session, store: Store, places: list[str], stored: _Files) -> dict[str, str]:
    """A base model of each federation; gives its version."""
    now = store.clock()
    artifacts = {place: new_id() for place in places}
    bases = {place: new_id() for place in places}
    _put(
        session,
        tables.Artifact,
        (
            {"id": artifact, "federation_id": place, "kind": "model", "name": "starter", "created_at": now}
            for place, artifact in artifacts.items()
        ),
    )
    _put(
        session,
        tables.Version,
        (
            {
                "id": bases[place],
                "artifact_id": artifact,
                "number": 1,
                "content": stored.base,
                "content_hash": "0" * 64,
                "facts": {"from": "starter"},
                "files": {},
                "created_at": now,
            }
            for place, artifact in artifacts.items()
        ),
    )
    return bases


def _runs(
    session: Session,
    store: Store,
    sizes: Sizes,
    places: list[str],
    names: dict[str, list[tuple[str, str, str]]],
    bases: dict[str, str],
    stored: _Files,
) -> None:
    now, giver = store.clock(), session.scalar(select(people.Person.id).limit(1))
    rows: dict[type[Table], list[dict[str, Any]]] = {}

    def add(table: type[Table], **row: Any) -> None:
        rows.setdefault(table, []).append(row)

    for number in range(sizes.runs):
        place, run = places[number % len(places)], new_id()
        status = STATUSES[number // len(places) % len(STATUSES)]
        members = names[place]
        began = now - DAY_S * (1 + (sizes.runs - number) / 4)
        plan = Plan.model_validate(
            {
                "name": f"run-{number:04d}",
                "rounds": sizes.rounds + 2,
                "data": {"clients": [name for _, name, _ in members]},
                "network": {"deadline_s": 30 * DAY_S, "quorum": 2},
            }
        )
        over = status in (Status.DONE, Status.STOPPED)
        add(
            tables.Run,
            id=run,
            federation_id=place,
            name=plan.name,
            plan=plan.model_dump(mode="json"),
            status=status,
            round=sizes.rounds if over else sizes.rounds + 1,
            base=stored.base,
            base_hash="0" * 64,
            initial=stored.adapter,
            prepared={"tensors": {f"down.{n}.to_q": [4, 320] for n in range(32)}, "upload_bytes": 3_000_000},
            charts=stored.charts,
            message="the disk is full" if status == Status.FAILED else "",
            created_at=began,
            paused_at=now if status == Status.PAUSED else None,
            finished_at=began + 3600.0 if over else None,
        )
        for position, (member, _, device) in enumerate(members):
            add(
                tables.RunMember,
                run_id=run,
                member_id=member,
                position=position,
                consent="accepted",
                consent_at=began,
                num_examples=40,
            )
            for committed in range(1, sizes.rounds + 1):
                add(
                    tables.Receipt,
                    run_id=run,
                    round=committed,
                    member_id=member,
                    device_id=device,
                    sha256=_digest(f"update {run} {committed} {member}"),
                    num_examples=40,
                    metrics={"last_loss": 0.2, "seconds": 60.0, "steps": 50},
                    received_at=began + 60.0 * committed,
                )
            add(
                tables.Refusal,
                id=new_id(),
                run_id=run,
                round=1 + position % (sizes.rounds + 1),
                member_id=member,
                reason="its norm is 9 times the others'; train again with a smaller learning rate",
                refused_at=began,
            )
        artifact = new_id()
        add(tables.Artifact, id=artifact, federation_id=place, kind="adapter", name=plan.name, created_at=began)
        parent = bases[place]
        for step in range(1, sizes.rounds + (1 if over else 2)):
            is_committed = step <= sizes.rounds
            add(
                tables.Round,
                run_id=run,
                number=step,
                phase=Phase.DONE if is_committed else Phase.COLLECTING,
                selected=[name for _, name, _ in members],
                opened_at=began + 60.0 * step,
                deadline_at=now + 30 * DAY_S,
                closed_at=began + 60.0 * step + 50.0 if is_committed else None,
                committed_at=began + 60.0 * step + 55.0 if is_committed else None,
                adapter=stored.adapter if is_committed else None,
                residual=None,
                report={"residual_share": 0.19, "rank": 4} if is_committed else None,
            )
            if not is_committed:
                continue
            version = new_id()
            add(
                tables.Version,
                id=version,
                artifact_id=artifact,
                number=step,
                content=stored.adapter,
                parent_id=parent,
                base_id=bases[place],
                run_id=run,
                round=step,
                facts={"method": "fedex-lora", "members": {name: 40 for _, name, _ in members}, "rank": 4},
                files={"kohya": stored.adapter},
                created_at=began + 60.0 * step,
            )
            parent = version
            for kind in ("aggregate", "evaluate"):
                add(
                    tables.Job,
                    id=new_id(),
                    key=f"{kind} {run} {step}",
                    kind=kind,
                    run_id=run,
                    round=step,
                    status="done",
                    attempts=1,
                    created_at=began,
                    finished_at=began + 60.0,
                )
            add(
                tables.Event,
                federation_id=place,
                run_id=run,
                kind="round committed",
                facts={"round": step, "adapter": stored.adapter},
                at=began + 60.0 * step,
            )
        for step in range(sizes.rounds + 1):
            for who in (AGGREGATED, members[0][1]) if step else (BASE,):
                add(
                    tables.Score,
                    run_id=run,
                    round=step,
                    who=who,
                    num_examples=40,
                    steps=50,
                    fid=100.0 - step,
                    kid=0.4 - step / 100,
                    fid_low=90.0 - step,
                    fid_high=110.0 - step,
                    kid_low=0.3 - step / 100,
                    kid_high=0.5 - step / 100,
                    kid_floor=0.002,
                    kid_floor_low=-0.01,
                    kid_floor_high=0.02,
                    extractor="icons-v1",
                    resize="lanczos",
                    num_heldout=200,
                    features=stored.adapter,
                    prompts=list(PROMPTS),
                    gallery=stored.pictures,
                    seconds=9.0,
                    scored_at=began,
                )
        add(
            tables.Release,
            id=new_id(),
            artifact_id=artifact,
            version_id=parent,
            tag="v1",
            notes="",
            files={"kohya": {"sha256": stored.adapter, "size_bytes": 693, "name": f"{plan.name}-v1.kohya.safetensors"}},
            provenance=stored.base,
            released_by=giver,
            released_at=now,
        )
    for table in (
        tables.Run,
        tables.RunMember,
        tables.Receipt,
        tables.Refusal,
        tables.Artifact,
        tables.Round,
        tables.Version,
        tables.Job,
        tables.Event,
        tables.Score,
        tables.Release,
    ):
        _put(session, table, rows.pop(table, ()))
    shared = {stored.base, stored.adapter, *stored.pictures, *stored.charts.values()}
    _put(
        session,
        tables.SharedFile,
        ({"federation_id": place, "sha256": digest} for place in places for digest in sorted(shared)),
    )


def _adapters(
    session: Session, store: Store, sizes: Sizes, places: list[str], bases: dict[str, str], stored: _Files
) -> None:
    now = store.clock()
    made = [(new_id(), places[number % len(places)], number) for number in range(sizes.adapters)]
    _put(
        session,
        tables.Artifact,
        (
            {
                "id": artifact,
                "federation_id": place,
                "kind": "adapter",
                "name": f"adapter-{number:05d}",
                "visibility": {1: "public", 3: "private"}.get(number % 10, "federation"),
                "licence": "CC-BY-4.0",
                "card": "# What it draws\n\nFlat icons with round corners.\n" * 5,
                "trigger_words": ["fluent_style"],
                "examples": stored.pictures,
                "created_at": now,
            }
            for artifact, place, number in made
        ),
    )
    _put(
        session,
        tables.Version,
        (
            {
                "id": new_id(),
                "artifact_id": artifact,
                "number": 1,
                "content": stored.adapter,
                "parent_id": bases[place],
                "base_id": bases[place],
                "facts": {"from": "upload", "rank": 4},
                "files": {},
                "created_at": now,
            }
            for artifact, place, _ in made
        ),
    )


def _imports(session: Session, store: Store, sizes: Sizes, accounts: list[Account], stored: _Files) -> None:
    """Imports of each federation, asked for by its people in turn, so that its administrator and others have some."""
    now = store.clock()
    rows = []
    for place in dict.fromkeys(account.federation_id for account in accounts):
        people_of = [_name(account) for account in accounts if account.federation_id == place]
        for number in range(sizes.imports):
            phase = IMPORT_PHASES[number % len(IMPORT_PHASES)]
            is_over = phase in ("done", "failed")
            rows.append(
                {
                    "id": new_id(),
                    "federation_id": place,
                    "asked_by": people_of[number % len(people_of)],
                    "kind": "adapter",
                    "name": f"brought-{number:04d}",
                    "source": ("upload", "hub", "folder")[number % 3],
                    "place": f"studio/icons-{number:04d}.safetensors",
                    "content": stored.adapter,
                    "phase": phase,
                    "message": "icons.safetensors: holds no LoRA; give an adapter's file" if phase == "failed" else "",
                    "created_at": now - 60.0 * (sizes.imports - number),
                    "finished_at": now if is_over else None,
                }
            )
    _put(session, tables.Import, rows)


def _tryouts(session: Session, store: Store, sizes: Sizes, accounts: list[Account], stored: _Files) -> None:
    """Try-outs of each person, in all states."""
    now = store.clock()
    rows = []
    for place in dict.fromkeys(account.federation_id for account in accounts):
        there = [account for account in accounts if account.federation_id == place]
        [release] = _identifiers(session, "release_id", there[0], 1)
        for account in there:
            for number in range(sizes.tryouts):
                status = TRYOUT_STATUSES[number % len(TRYOUT_STATUSES)]
                is_over = status not in ("waiting", "running")
                rows.append(
                    {
                        "id": new_id(),
                        "person_id": _name(account),
                        "release_id": release,
                        "prompt": PROMPTS[number % len(PROMPTS)],
                        "negative": "blurry, photograph",
                        "count": len(stored.pictures),
                        "strength": 0.8,
                        "steps": 25,
                        "guidance": 7.5,
                        "seed": number,
                        "size_pixels": None,
                        "status": status,
                        "attempt": 1,
                        "message": "the graphics card has no memory left" if status == "failed" else "",
                        "pictures": stored.pictures if status == "done" else [],
                        "steps_done": 100 if status == "done" else 0,
                        "spent": 0,
                        "asked_at": now - 60.0 * (sizes.tryouts - number),
                        "started_at": None if status == "waiting" else now - 30.0,
                        "finished_at": now if is_over else None,
                    }
                )
    _put(session, tryouts.Tryout, rows)


def _name(account: Account) -> str:
    """The account's identifier, which its address begins with."""
    return account.email.partition("@")[0]


def _audit(session: Session, store: Store, number: int, places: list[str]) -> None:
    """Entries with the hashes that `audit.record` would have given them, one after the other."""
    key = store.key("audit")
    persons = session.execute(select(people.Person.id, people.Person.name)).all()
    head = session.scalars(select(people.AuditHead)).one()
    first, previous = head.entries, head.hash
    actions = ("signed in", "run paused", "description changed", "role changed", "join code made")

    def entries() -> Iterator[dict[str, Any]]:
        nonlocal previous
        for count in range(1, number + 1):
            person = persons[count % len(persons)]
            row = {
                "number": first + count,
                "at": store.clock() - (number - count) * 60.0,
                "actor_kind": "person",
                "actor_id": person.id,
                "actor": person.name,
                "via": f"sign-in {count}",
                "address": "192.0.2.7",
                "action": actions[count % len(actions)],
                "federation_id": places[count % len(places)],
                "object_kind": "person",
                "object_id": person.id,
                "facts": {"name": f"adapter-{count}", "before": "federation"},
            }
            row["hash"] = previous = audit._hash(key, people.AuditEntry(**row), previous)
            yield row

    _put(session, people.AuditEntry, entries())
    head.entries, head.hash = first + number, previous
    head.seal = audit._seal(key, head)


def _put(session: Session, table: type[Table], rows: Iterable[dict[str, Any]]) -> None:
    left = iter(rows)
    while batch := list(itertools.islice(left, BATCH)):
        session.execute(insert(table), batch)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
