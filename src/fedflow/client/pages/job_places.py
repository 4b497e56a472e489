"""Where what a job is about is shown: its dataset, its pictures, its training, its model, its federation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import url_for
from sqlalchemy import select

from fedflow.client.database.tables import Asset, Consent, Dataset, Drawing, Job, Membership
from fedflow.client.services import (
    datasets,
    datasets_check,
    datasets_edits,
    datasets_tagging,
    datasets_uploads,
    drawings,
    fetching,
    jobs,
    memberships,
    shelving,
    trainings,
)
from fedflow.client.store import Store


def _dataset(endpoint: str) -> Callable[[Job, Mapping[str, str]], str | None]:
    def place(job: Job, there: Mapping[str, str]) -> str | None:
        return url_for(endpoint, dataset_id=job.asked["dataset"]) if job.asked["dataset"] in there else None

    return place


def _model(job: Job, there: Mapping[str, str]) -> str | None:
    asset_id = job.asked["model"] if job.kind == shelving.EXPORT else job.id
    return url_for("pages.models.one", asset_id=asset_id) if asset_id in there else None


def _drawn(job: Job, there: Mapping[str, str]) -> str | None:
    if job.asked.get("across"):
        return url_for("pages.compare.one", job_id=job.id)
    first = there.get(job.id)
    if first is None:
        return url_for("pages.generate.page", job=job.id) if job.status in jobs.WENT_WRONG else None
    return url_for("pages.gallery.one", drawing_id=first)


def _federation(job: Job, there: Mapping[str, str]) -> str | None:
    membership_id = job.asked["membership"] if job.kind == jobs.ROUND else job.id
    if membership_id not in there:
        return None
    if job.kind == jobs.ROUND and job.asked["run"] in there:
        return url_for("pages.consent.page", membership_id=membership_id, run_id=job.asked["run"])
    return url_for("pages.federations.one", membership_id=membership_id)


PLACES: dict[str, Callable[[Job, Mapping[str, str]], str | None]] = {
    drawings.KIND: _drawn,
    datasets.KIND: _dataset("pages.datasets.one"),
    datasets_edits.KIND: _dataset("pages.datasets.one"),
    datasets_uploads.KIND: _dataset("pages.datasets.one"),
    datasets_tagging.KIND: _dataset("pages.datasets_tagging.page"),
    datasets_check.KIND: _dataset("pages.datasets_check.page"),
    trainings.KIND: lambda job, _: url_for("pages.train.one", job_id=job.id),
    shelving.IMPORT: _model,
    shelving.MERGE: _model,
    shelving.EXPORT: _model,
    fetching.KIND: _model,
    memberships.JOIN: _federation,
    jobs.ROUND: _federation,
}
"""The address that each kind of job leads to, from what is there; None where it is not there."""


def places(store: Store, found: Sequence[Job]) -> dict[str, str]:
    """Addresses of what these jobs are about, by the job's identifier; those have none whose thing is not there."""
    named = {
        value for job in found for key in ("dataset", "model", "membership", "run") if (value := job.asked.get(key))
    }
    named |= {job.id for job in found}
    there: dict[str, str] = {}
    with store.read() as session:
        for column in (Dataset.id, Asset.id, Consent.run_id):
            there |= {each: each for each in session.scalars(select(column).where(column.in_(named)))}
        kept = select(Membership.id).where(Membership.id.in_(named), Membership.left_at.is_(None))
        there |= {each: each for each in session.scalars(kept)}
        drawn = select(Drawing.job_id, Drawing.id).where(Drawing.job_id.in_(named)).order_by(Drawing.id.desc())
        there |= {row.job_id: row.id for row in session.execute(drawn)}
    led = {job.id: PLACES[job.kind](job, there) for job in found}
    return {job_id: place for job_id, place in led.items() if place is not None}
