"""The list of runs: found by state, federation and name, with plain links and forms."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from statements import counted
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import Reader, told, value_of
from tests.unit.server.run_setting import Setting, plan_of

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Run
from fedflow.server.pages import runs as pages
from fedflow.server.services import federations, run_list, runs
from fedflow.server.services.identity import SERVER
from fedflow.server.services.run_list import Wanted
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store, setting: Setting) -> Site:
    """Five runs of autumn, three of which are stopped, and the setting's own."""
    assert setting.run
    site = Site.of(app, store)
    for number in range(5):
        run_id = runs.create(store, site.federation_id, plan_of(name=f"autumn {number}"))
        if number < 3:
            runs.stop(store, run_id, SERVER)
    return site


def listed(reader: Reader, address: str) -> list[str]:
    """The names on a page of runs, and its address of older ones last."""
    page = reader.get(address).text
    names = [unescape(name) for name in re.findall(r'<a href="/runs/[\w-]+">(.*?)</a>', page)]
    older = re.search(r'href="([^"]+)" rel="next"', page)
    return [*names, unescape(older[1])] if older else names


def test_a_filter_is_kept_from_page_to_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ON_A_PAGE", 2)
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    assert listed(cora, "/runs?name=test") == ["test"]
    assert listed(cora, "/runs?state=preparing&name=") == ["autumn 4", "autumn 3"]
    *first, older = listed(cora, "/runs?state=stopped&name=AUT")
    assert first == ["autumn 2", "autumn 1"]
    assert "state=stopped" in older
    assert "name=AUT" in older
    page = cora.get(older)
    assert listed(cora, older) == ["autumn 0"]
    assert value_of(page, "name") == "AUT"
    assert '<option value="stopped" selected>' in page.text
    assert listed(cora, "/runs?state=no-state") == listed(cora, "/runs")
    assert 'name="federation"' not in page.text, "there is one alone"


def test_nothing_found_says_so_and_how_to_see_all(site: Site) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    for address in ("/runs?name=%25", "/runs?state=failed"):
        page = cora.get(address)
        assert "Nothing found No run matches these filters. Show all" in told(page)
        assert re.search(r'<a class="button [^"]*" href="/runs">Show all</a>', page.text)
    assert "Nothing found" not in told(cora.get("/runs"))


def test_what_is_brought_while_one_types_is_the_list_alone(site: Site) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    answer = cora.get("/runs?state=stopped&federation=&name=", headers={"HX-Request": "true"})
    assert answer.headers["HX-Replace-Url"] == "/runs?state=stopped"
    assert "<html" not in answer.text
    assert 'hx-swap-oob="innerHTML">3 runs are shown.' in answer.text


def test_a_filter_opens_no_other_federation(site: Site) -> None:
    other = federations.create(site.store, "other")
    moved = runs.create(site.store, site.federation_id, plan_of(name="secret"))
    with site.store.begin() as session:
        session.get_one(Run, moved).federation_id = other
    site.account("root")
    site.account("cora", "coordinator")
    address = f"/runs?federation={other}"
    assert listed(site.reader("root"), address) == ["secret"]
    assert listed(site.reader("cora"), address) == []
    assert "Nothing found" in told(site.reader("cora").get(address))


def test_a_filter_costs_no_further_query(site: Site) -> None:
    with counted(site.store._reading) as every:
        assert len(run_list.newest(site.store, SERVER)) == 6
    with counted(site.store._reading) as some:
        wanted = Wanted(Status.STOPPED, site.federation_id, "autumn")
        assert len(run_list.newest(site.store, SERVER, wanted)) == 3
    assert len(some) == len(every)
