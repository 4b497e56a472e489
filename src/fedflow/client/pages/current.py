"""What a route works with: the app's store and settings."""

from __future__ import annotations

from typing import cast

from flask import Flask, current_app

from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store

STORE, SETTINGS = "fedflow.store", "fedflow.settings"


def set_up(app: Flask, store: Store, settings: ClientSettings) -> None:
    """Give the app what its routes work with."""
    app.extensions[STORE], app.extensions[SETTINGS] = store, settings


def store() -> Store:
    """The app's store."""
    return cast(Store, current_app.extensions[STORE])


def settings() -> ClientSettings:
    """The app's settings."""
    return cast(ClientSettings, current_app.extensions[SETTINGS])
