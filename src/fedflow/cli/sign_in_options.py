"""Options of `fedflow server` that say how people come in: an OpenID provider, and letters."""

from __future__ import annotations

from typing import Annotated

import typer

IssuerOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_OIDC_ISSUER",
        help="OpenID provider that people may sign in with, https://HOST...; its redirect address is "
        "PUBLIC_URL/sign-in/provider/back.",
    ),
]
ClientIdOption = Annotated[
    str | None, typer.Option(envvar="FEDFLOW_OIDC_CLIENT_ID", help="What the provider knows this server as.")
]
ClientSecretOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_OIDC_CLIENT_SECRET", help="The secret that goes with it; best given in the environment."
    ),
]
ProviderNameOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_OIDC_NAME", help="What the provider is called on the sign-in page; its host where not given."
    ),
]
PostOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_SMTP_URL",
        help="smtps://USER:PASSWORD@HOST, smtp+starttls://... or smtp://HOST that takes letters with links.",
    ),
]
SenderOption = Annotated[str | None, typer.Option(envvar="FEDFLOW_MAIL_FROM", help="Address that letters come from.")]
