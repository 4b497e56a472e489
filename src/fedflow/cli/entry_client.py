"""`fedflow client`, as options and help alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def client(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the app's things; ~/.local/share/fedflow-client where not given.")
    ] = None,
    host: Annotated[
        str,
        typer.Option(envvar="FEDFLOW_CLIENT_HOST", help="Address to listen on; beyond this machine with a password."),
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8450 where not given.", min=0, max=65535)] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that draw and train; 2 where not given.", min=1)] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open the app in the browser: datasets, pictures, trainings, federations.

    FEDFLOW_CLIENT_PASSWORD sets its password.
    """
    from fedflow.cli.client import client as open_client

    open_client(folder, host=host, port=port, threads=threads, browser=browser)
