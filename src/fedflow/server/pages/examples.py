"""Example pictures of a model or adapter: shown to who sees it, put up and taken down by who may change it."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow.server.api import current
from fedflow.server.errors import ApiError
from fedflow.server.pages.faults import said
from fedflow.server.services import examples
from fedflow.web.states import State

blueprint = Blueprint("examples", __name__)


@blueprint.get("/models/<artifact_id>/examples/<sha256>")
def picture(artifact_id: str, sha256: str) -> Response:
    """An example. A browser asks each time whether it is shown still."""
    path = examples.file_of(current.store(), current.caller(), artifact_id, sha256)
    answer = send_file(path, mimetype="image/png", conditional=True, etag=sha256)
    answer.cache_control.private = True
    return answer


@blueprint.post("/models/<artifact_id>/examples")
def adds(artifact_id: str) -> AnyResponse:
    """Put the picture of the form up."""
    file = request.files.get("picture")
    try:
        if file is None or not file.filename:
            flash(gettext("Choose a picture first."), State.REFUSED)
        else:
            content = file.stream.read(examples.MOST_BYTES + 1)
            examples.add(current.store(), current.caller(), artifact_id, content)
            flash(gettext("The picture is shown."), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.REFUSED)
    return _back(artifact_id)


@blueprint.post("/models/<artifact_id>/examples/<sha256>/take-down")
def takes_down(artifact_id: str, sha256: str) -> AnyResponse:
    """Show it no longer."""
    examples.remove(current.store(), current.caller(), artifact_id, sha256)
    flash(gettext("The picture is no longer shown."), State.DONE)
    return _back(artifact_id)


def _back(artifact_id: str) -> AnyResponse:
    return redirect(url_for("pages.models.one", artifact_id=artifact_id, _anchor="examples"), 303)
