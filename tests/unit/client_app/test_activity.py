"""Activity: what a job's name leads to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import work

from fedflow.client.database.tables import Asset, Consent, Membership
from fedflow.client.services import (
    datasets,
    datasets_check,
    datasets_tagging,
    drawings,
    fetching,
    jobs,
    library,
    memberships,
    shelving,
    trainings,
)
from fedflow.client.services.datasets_tagging import TagRequest
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import carry_out


def add(store: Store, kind: str, title: str, **asked: Any) -> str:
    with store.begin() as session:
        return jobs.add(session, kind, title, asked, 1, store.clock()).id


def led(visitor: Visitor) -> dict[str, str]:
    """The names in Activity that are links, and where they lead."""
    page = visitor.client.get("/activity").text
    return {name: place for place, name in re.findall(r'<p class="prompt[^>]*><a href="([^"]+)">([^<]+)</a>', page)}


def test_the_name_of_a_job_leads_to_what_it_is_about(
    store: Store, visitor: Visitor, pictures: Path, tiny_model_folder: Path
) -> None:
    dataset_id = datasets.add(store, str(pictures))
    assert led(visitor) == {"pictures": f"/datasets/{dataset_id}"}
    work(store)
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    datasets_check.ask(store, dataset)
    assert led(visitor) == {"pictures": f"/datasets/{dataset_id}"}, "the older of two of a name stands below"
    datasets_tagging.ask(store, dataset, TagRequest())
    request = DrawRequest(
        model=str(tiny_model_folder), prompt="a cat", pictures=2, steps=1, seed=7, width_pixels=32, height_pixels=32
    )
    drawn = drawings.ask(store, request)
    assert "a cat" not in led(visitor), "there is no picture yet"
    carry_out(store, ClientSettings(folder=store.folder, threads=1), drawn)
    first, _ = drawings.of_job(store, drawn)
    trained = add(store, trainings.KIND, "a training", dataset=dataset_id)
    imported = add(store, shelving.IMPORT, "an import", place="/x")
    add(store, shelving.MERGE, "a merge that failed")
    add(store, fetching.KIND, "a fetch that failed", run="none")
    joined = add(store, memberships.JOIN, "https://x.example", server="x", dataset=dataset_id)
    add(store, jobs.ROUND, "round 1", membership=joined, run="r", round=1)
    add(store, jobs.ROUND, "round of a run that is gone", membership=joined, run="none", round=1)
    with store.begin() as session:
        session.add(
            Asset(
                id=imported, kind=library.MODEL, name="m", base="", base_hash="", trigger="", size_bytes=1,
                added_at=0.0, origin={"how": "imported"},
            )
        )  # fmt: skip
        session.add(
            Membership(
                id=joined, server="https://x.example", federation="Icons", member="studio", dataset_id=None, policy={},
                always=False, is_paused=False, said="", said_at=None, joined_at=0.0,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Consent(
                membership_id=joined, run_id="r", facts={"status": "running"}, pictures=1, answer="asked", rounds=[],
                asked_at=0.0, answered_at=None,
            )
        )  # fmt: skip
    add(store, shelving.EXPORT, "an export", model=imported)
    assert led(visitor) == {
        "pictures": f"/datasets/{dataset_id}",
        "pictures · icons-v1": f"/datasets/{dataset_id}/tags",
        "a cat": f"/gallery/{first.id}",
        "a training": f"/train/{trained}",
        "an import": f"/models/{imported}",
        "an export": f"/models/{imported}",
        "https://x.example": f"/federations/{joined}",
        "round 1": f"/federations/{joined}/runs/r",
        "round of a run that is gone": f"/federations/{joined}",
    }
    datasets.remove(store, dataset_id)
    drawings.remove(store, first.id)
    now = led(visitor)
    assert "pictures" not in now
    assert now["a cat"] != f"/gallery/{first.id}"


def test_a_drawing_that_failed_leads_to_its_settings_and_is_resumed_where_it_was_asked_for(
    store: Store, visitor: Visitor
) -> None:
    failed = drawings.ask(store, DrawRequest(model="/not/here", prompt="a dog", pictures=1, steps=1))
    carry_out(store, ClientSettings(folder=store.folder, threads=1), failed)
    assert led(visitor) == {"a dog": f"/?job={failed}"}
    assert f'action="/activity/{failed}/resume"' in visitor.client.get("/drawn").text
