"""Jobs in the reader's words."""

from __future__ import annotations

from flask_babel import LazyString, gettext, lazy_gettext, ngettext

from fedflow.client.database.tables import Job
from fedflow.client.pages import current
from fedflow.client.pages.faults import said
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
from fedflow.web import amounts
from fedflow.web.states import State

STATUS: dict[str, tuple[State, LazyString]] = {
    jobs.QUEUED: (State.WAITING, lazy_gettext("Waiting")),
    jobs.RUNNING: (State.RUNNING, lazy_gettext("Running")),
    jobs.PAUSED: (State.WAITING, lazy_gettext("Paused")),
    jobs.DONE: (State.DONE, lazy_gettext("Done")),
    jobs.FAILED: (State.FAILED, lazy_gettext("Failed")),
    jobs.DIED: (State.FAILED, lazy_gettext("Died")),
    jobs.STOPPED: (State.REFUSED, lazy_gettext("Stopped")),
    jobs.REFUSED: (State.REFUSED, lazy_gettext("Refused")),
    jobs.ASIDE: (State.WAITING, lazy_gettext("Set aside")),
}

KINDS: dict[str, LazyString] = {
    drawings.KIND: lazy_gettext("Generate"),
    datasets.KIND: lazy_gettext("Look at a dataset"),
    trainings.KIND: lazy_gettext("Train"),
    shelving.IMPORT: lazy_gettext("Import"),
    shelving.MERGE: lazy_gettext("Join adapters"),
    shelving.EXPORT: lazy_gettext("Write as one file"),
    fetching.KIND: lazy_gettext("Fetch from a server"),
    memberships.JOIN: lazy_gettext("Join a federation"),
    jobs.ROUND: lazy_gettext("Train for a federation"),
    datasets_edits.KIND: lazy_gettext("Change captions"),
    datasets_tagging.KIND: lazy_gettext("Tag pictures"),
    datasets_check.KIND: lazy_gettext("Check a dataset"),
    datasets_uploads.KIND: lazy_gettext("Unpack a zip"),
}

RESUMABLE = jobs.RESUMABLE
WENT_WRONG = jobs.WENT_WRONG
DISMISSABLE = jobs.WENT_WRONG | {jobs.STOPPED}
UNSETTLED = RESUMABLE | DISMISSABLE
"""Those with which something can be done."""

STEPS, PICTURES, CAPTIONS = lazy_gettext("steps"), lazy_gettext("pictures"), lazy_gettext("captions")
UNITS: dict[str, LazyString] = {
    drawings.KIND: STEPS,
    datasets.KIND: PICTURES,
    trainings.KIND: STEPS,
    jobs.ROUND: STEPS,
    datasets_edits.KIND: CAPTIONS,
    datasets_tagging.KIND: PICTURES,
    datasets_uploads.KIND: PICTURES,
}
"""What a job's pieces of work are; of one that is done as a whole there is none."""


def reason(job: Job) -> str:
    """Why a job did not end well, in one sentence; empty where it did."""
    if job.kind == jobs.ROUND and job.status == jobs.STOPPED and job.message:
        return str(gettext("It ended on the way. %(reason)s", reason=said(job.message)))
    if job.kind == jobs.ROUND and job.status in (jobs.DIED, jobs.STOPPED):
        return str(gettext("It ended on the way, and goes on from its last checkpoint when the round still wants it."))
    if job.status == jobs.DIED:
        return str(
            gettext("The worker ended while it was at it. What was done is kept; resume it to go on from there.")
        )
    if job.status in (jobs.FAILED, jobs.REFUSED, jobs.ASIDE):
        return said(job.message) if job.message else ""
    return ""


def done_of(job: Job) -> str:
    """How many of its pieces of work a job has done, of how many."""
    told = {"done": amounts.number(job.done), "total": amounts.number(job.of)}
    unit = UNITS.get(job.kind)
    if unit is STEPS:
        return str(ngettext("%(done)s of %(total)s step", "%(done)s of %(total)s steps", job.of, **told))
    if unit is PICTURES:
        return str(ngettext("%(done)s of %(total)s picture", "%(done)s of %(total)s pictures", job.of, **told))
    if unit is CAPTIONS:
        return str(ngettext("%(done)s of %(total)s caption", "%(done)s of %(total)s captions", job.of, **told))
    return str(gettext("%(done)s of %(total)s", **told))


def before_work(job: Job) -> str:
    """What happens before the first piece of work is done; empty afterwards."""
    if job.done or job.wanted:
        return ""
    if job.status == jobs.QUEUED:
        return str(gettext("It waits for its turn: one job is done at a time."))
    if job.kind == memberships.JOIN:
        most = int(memberships.JOIN_PATIENCE_S)
        return str(gettext("The server is asked; it is given up after %(num)s seconds without an answer.", num=most))
    if job.kind == datasets.KIND and not job.of:
        return str(gettext("The folder is searched for pictures."))
    if job.kind in (trainings.KIND, jobs.ROUND):
        return str(gettext("Pictures and captions are being encoded."))
    return str(gettext("The model is being opened, then the first step is drawn.")) if job.kind == drawings.KIND else ""


def pictures_drawn(job: Job) -> str:
    """How many of its pictures a job has drawn; empty where it draws one, or has not begun."""
    if job.kind != drawings.KIND or not job.done:
        return ""
    wanted = len(drawings.shots(drawings.request_of(job)))
    if wanted < 2:
        return ""
    drawn = drawings.counted(current.store(), job.id)
    return str(
        ngettext(
            "%(drawn)s of %(num)s picture is drawn.", "%(drawn)s of %(num)s pictures are drawn.", wanted, drawn=drawn
        )
    )


def left_s(job: Job, now: float) -> float | None:
    """Seconds until a running job is done, if it goes on as since it was begun or resumed; None where nothing is known
    yet. What comes before its first piece of work, such as opening a model, is left out."""
    if job.paced_at is None or job.paced_from is None or job.done <= job.paced_from:
        return None
    return (now - job.paced_at) / (job.done - job.paced_from) * (job.of - job.done)
