"""Forms that make a secret make one, however often a browser sends them: on a reload, or on a second click."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from tests.unit.server.conftest import Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import Reader, told

from fedflow.server.database.people import Invitation, PersonToken
from fedflow.server.database.tables import IdempotencyKey, JoinCode
from fedflow.server.errors import AlreadyMade
from fedflow.server.services import idempotency, invitations, join_codes
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

SHOWN = r"<code>(?:fedflow join \S+ --code |http://localhost/invitation/)?([\w-]+)[^<]*</code>"
DAY_S = 86_400.0


class TestPages:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> ServerSettings:
        """The services are tested on both databases; pages on one."""
        return ServerSettings(folder=tmp_path / "data")

    @pytest.fixture
    def site(self, app: Flask, store: Store) -> Site:
        site = Site.of(app, store)
        site.account("boss")
        return site

    @pytest.mark.parametrize(
        ("path", "shown", "fields", "wrong", "table", "back"),
        [
            (
                "/account/tokens",
                "This token was made already",
                {"name": "nightly", "days": "30", "scope.read": "on"},
                {"days": "0"},
                PersonToken,
                "/account/tokens",
            ),
            (
                "/federations/{federation}/codes",
                "This join code was made already",
                {"member": "museum"},
                {"member": "a/b"},
                JoinCode,
                "/federations/{federation}/codes",
            ),
            (
                "/people/{federation}/invite",
                "This invitation was made already",
                {"role": "viewer"},
                {"role": "none"},
                Invitation,
                "/people/{federation}",
            ),
            (
                "/people/invite",
                "This invitation was made already",
                {"is_admin": "off"},
                {"email": "nobody"},
                Invitation,
                "/people",
            ),
        ],
    )
    def test_a_reload_makes_no_second_secret(
        self,
        site: Site,
        path: str,
        shown: str,
        fields: dict[str, object],
        wrong: dict[str, object],
        table: type[PersonToken | JoinCode | Invitation],
        back: str,
    ) -> None:
        reader = site.reader("boss")
        path, back = (each.format(federation=site.federation_id) for each in (path, back))
        form = _identifier(reader.get(path).text)
        refused = reader.post(path, {**fields, **wrong, "identifier": form})
        assert refused.status_code == 422
        assert _identifier(refused.text) == form, "what was refused made nothing, and is sent again corrected"
        before = _count(site.store, table)
        made = reader.post(path, {**fields, "identifier": form})
        assert made.status_code == 200
        [secret] = re.findall(SHOWN, made.text)
        again = reader.post(path, {**fields, "identifier": form})
        assert (again.status_code, again.headers["Location"]) == (303, back)
        page = reader.get(back)
        assert shown in told(page)
        assert secret not in page.text
        assert _count(site.store, table) == before + 1
        other = _identifier(reader.get(path).text)
        assert other != form
        assert reader.post(path, {**fields, "identifier": other}).status_code == 200
        assert _count(site.store, table) == before + 2

    def test_what_was_taken_back_is_not_made_again_by_a_reload(self, site: Site) -> None:
        reader = site.reader("boss")
        path = f"/federations/{site.federation_id}/codes"
        sent = {"member": "museum", "identifier": _identifier(reader.get(path).text)}
        reader.post(path, sent)
        withdraw = re.search(r'action="([^"]+/withdraw)"', reader.get(path).text)
        assert withdraw is not None
        reader.post(withdraw[1])
        assert reader.post(path, sent).status_code == 303
        assert _count(site.store, JoinCode) == 0

    def test_another_persons_form_is_another(self, site: Site) -> None:
        site.account("ada", "administrator")
        sent = {"name": "nightly", "days": "30", "scope.read": "on"}
        readers: list[Reader] = [site.reader("boss"), site.reader("ada")]
        sent["identifier"] = _identifier(readers[0].get("/account/tokens").text)
        assert [reader.post("/account/tokens", sent).status_code for reader in readers] == [200, 200]


@pytest.mark.parametrize(
    "make",
    [
        lambda store, federation: join_codes.make(store, federation, "museum", None, longest_s=60.0, form="one"),
        lambda store, federation: invitations.make(store, SERVER, federation, "viewer", form="one"),
    ],
)
def test_a_form_counts_once_as_long_as_a_browser_may_send_it(
    store: Store, federation_id: str, clock: Clock, make: Callable[[Store, str], object]
) -> None:
    make(store, federation_id)
    clock.now += 30 * DAY_S
    idempotency.forget(store)
    with pytest.raises(AlreadyMade, match="this form was sent before"):
        make(store, federation_id)
    clock.now += 2 * DAY_S
    idempotency.forget(store)
    with store.read() as session:
        assert session.scalars(select(IdempotencyKey)).all() == []


def _identifier(page: str) -> str:
    found = re.search(r'<input type="hidden" name="identifier" value="([\w-]+)">', page)
    assert found is not None
    return found[1]


def _count(store: Store, table: type[PersonToken | JoinCode | Invitation]) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0
