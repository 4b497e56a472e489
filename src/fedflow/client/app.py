"""The app as Flask serves it. It imports no torch: what draws and trains is the worker."""

from __future__ import annotations

from flask import Flask

from fedflow.client.pages import current, doors, sending, site
from fedflow.client.pages.sending import FORM_BYTES
from fedflow.client.services.datasets_uploads import MOST_BYTES, MOST_FILES
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store


def create_app(store: Store, settings: ClientSettings) -> Flask:
    """The participant's app on this store."""
    app = Flask("fedflow.client", static_folder=None)
    app.secret_key = store.key
    app.config.update(
        SESSION_COOKIE_NAME="fedflow_told",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=MOST_BYTES + FORM_BYTES,
        MAX_FORM_MEMORY_SIZE=FORM_BYTES,
        MAX_FORM_PARTS=2 * MOST_FILES,  # a form of pictures is read for its guard, before its own page has a say
    )
    current.set_up(app, store, settings)
    sending.set_up(app)
    doors.set_up(app)
    with app.app_context():
        site.set_up(app)
    return app
