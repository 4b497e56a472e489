"""Options of `fedflow server` that say where models may be brought in from, and its command that brings one in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ImportsOption = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDFLOW_IMPORTS",
        help="Folder that the server's administrators may import from, and its coordinators start runs from; none "
        "where not given.",
    ),
]
HubOption = Annotated[
    bool | None,
    typer.Option(
        "--hub-imports",
        envvar="FEDFLOW_HUB_IMPORTS",
        help="Let coordinators import, and start runs, by a name on the model hub.",
    ),
]
NameArgument = Annotated[str, typer.Argument(help="What it shall be called in the registry.")]
SourceArgument = Annotated[
    str, typer.Argument(help="A diffusers or PEFT folder, a .safetensors file, a zip of either; with --hub OWNER/NAME.")
]
KindOption = Annotated[str, typer.Option(help="model or adapter.")]
BaseOption = Annotated[
    str | None,
    typer.Option(
        help="NAME or NAME/VERSION of a model in the registry that an adapter belongs to, or whose settings a single "
        "checkpoint takes."
    ),
]
FromHubOption = Annotated[bool, typer.Option("--hub", help="The source is a name on the model hub.")]
