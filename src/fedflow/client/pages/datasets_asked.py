"""What an address of the datasets' pages names, and the tabs of a dataset."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, redirect, request, url_for
from flask_babel import gettext

from fedflow.client.database.tables import Dataset, Job, Picture
from fedflow.client.pages import current
from fedflow.client.services import datasets, datasets_check, datasets_edits, datasets_tagging, datasets_uploads, jobs

KINDS = (
    datasets.KIND,
    datasets_edits.KIND,
    datasets_tagging.KIND,
    datasets_check.KIND,
    datasets_uploads.KIND,
)
"""Jobs that are about a dataset."""


def dataset_of(dataset_id: str) -> Dataset:
    """The dataset; the answer is 404 where there is none.

    Of one whose zip was refused it leads to the list of datasets, which says so.
    """
    found = datasets.one(current.store(), dataset_id)
    if found is None and any(job.asked["dataset"] == dataset_id for job in datasets_uploads.refused(current.store())):
        place = url_for("pages.datasets.listed")
        is_part = "HX-Request" in request.headers
        abort(Response(headers={"HX-Redirect": place}) if is_part else redirect(place, 303))
    return found or abort(404)


def picture_of(dataset_id: str, picture_id: int) -> Picture:
    """A picture of this dataset; the answer is 404 where there is none."""
    return datasets.picture(current.store(), dataset_id, picture_id) or abort(404)


def under_way(dataset_id: str) -> list[Job]:
    """Jobs about this dataset that run or wait."""
    return [job for job in jobs.under_way(current.store(), KINDS) if job.asked["dataset"] == dataset_id]


def tabs(dataset: Dataset, here: str) -> list[dict[str, Any]]:
    """The parts of a dataset's pages, for `web/components/data.html`."""
    places = (
        ("pages.datasets.one", gettext("Pictures")),
        ("pages.datasets_check.page", gettext("Check")),
        ("pages.datasets_tagging.page", gettext("Automatic tags")),
    )
    return [
        {"label": label, "href": url_for(endpoint, dataset_id=dataset.id), "here": endpoint == here}
        for endpoint, label in places
    ]
