"""What commands that talk to a server have in common: where it is, and the coordinator's token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedflow.cli.run import Coordinator

UrlOption = Annotated[str, typer.Option("--server", envvar="FEDFLOW_SERVER", help="The server's address.")]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDFLOW_TOKEN_FILE", help="File with the coordinator's token; in the default folder where not given."
    ),
]
SecretOption = Annotated[str | None, typer.Option(envvar="FEDFLOW_TOKEN", help="The token itself.", hidden=True)]
FederationOption = Annotated[str | None, typer.Option(help="Name of the federation, where there are several.")]

URL = "http://127.0.0.1:8440"


def coordinator_of(url: str, token: str | None, token_file: Path | None, folder: Path | None = None) -> Coordinator:
    """The server as its coordinator sees it: by the token, or the file that it is in, or the one in `folder`."""
    from fedflow.cli.run import Coordinator
    from fedflow.cli.server import default_folder
    from fedflow.server.services.identity import TOKEN_FILE

    return Coordinator(url, token, token_file or (folder or default_folder()) / TOKEN_FILE)
