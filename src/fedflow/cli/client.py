"""`fedflow client`: the participant's app in this machine's browser."""

from __future__ import annotations

import os
from pathlib import Path

from fedflow.client.serve import serve
from fedflow.client.settings import ClientSettings, default_folder


def client(
    folder: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    threads: int | None = None,
    browser: bool = True,
) -> None:
    """Open the app on `folder` until Ctrl-C. Raises FedFlowError, one line, where it cannot be opened."""
    given = {"port": port, "threads": threads}
    settings = ClientSettings(
        folder=(folder or default_folder()).expanduser().absolute(),
        host=host,
        password=os.environ.get("FEDFLOW_CLIENT_PASSWORD") or None,
        **{name: value for name, value in given.items() if value is not None},
    )
    serve(settings, opens_browser=browser)
