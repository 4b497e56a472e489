"""The commands of `fedflow server`, as options and help alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedflow.cli.limit_options import (
    CodeLifeOption,
    ImportBytesOption,
    PicturesADayOption,
    ThreadsOption,
    TryoutLifeOption,
    TryoutPicturesOption,
    TryoutSizeOption,
    TryoutStepsOption,
    UploadBytesOption,
    UploadLifeOption,
    WaitingOption,
    WorkerThreadsOption,
)
from fedflow.cli.registry_options import (
    BaseOption,
    FromHubOption,
    HubOption,
    ImportsOption,
    KindOption,
    NameArgument,
    SourceArgument,
)
from fedflow.cli.server_options import FederationOption, SecretOption, TokenOption, coordinator_of
from fedflow.cli.sign_in_options import (
    ClientIdOption,
    ClientSecretOption,
    IssuerOption,
    PostOption,
    ProviderNameOption,
    SenderOption,
)

if TYPE_CHECKING:
    from fedflow.cli.run import Coordinator
    from fedflow.server.settings import ServerSettings

server_app = typer.Typer(help="FedFlowServer: start it, or one of its parts.", rich_markup_mode=None)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True, rich_markup_mode=None)
server_app.add_typer(audit_app, name="audit")

FolderOption = Annotated[
    Path | None, typer.Option(help="Folder of the server's data; ~/.local/share/fedflow-server where not given.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(envvar="FEDFLOW_DATABASE_URL", help="postgresql+psycopg://USER@HOST/NAME; SQLite where not given."),
]
QueueOption = Annotated[
    str | None,
    typer.Option(envvar="FEDFLOW_QUEUE_URL", help="redis:// or postgresql+psycopg://...; a file where not given."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_STORE_URL",
        help="s3://BUCKET/PREFIX, with AWS_ENDPOINT_URL and the other AWS_... variables; the folder where not given.",
    ),
]
CacheOption = Annotated[
    int | None,
    typer.Option(envvar="FEDFLOW_CACHE_BYTES", help="Room for copies of the S3 store's files; 20 GB where not given."),
]
PicturesOption = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDFLOW_PICTURES",
        help="Folder with folders of held-out pictures, which rounds are scored against (data.heldout).",
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option(envvar="FEDFLOW_LISTEN_HOST", help="Address to listen on; this machine alone where not given."),
]
PortOption = Annotated[
    int | None, typer.Option(envvar="FEDFLOW_LISTEN_PORT", help="Port to listen on; 8440 where not given.")
]
PublicUrlOption = Annotated[
    str | None,
    typer.Option(
        envvar="FEDFLOW_PUBLIC_URL", help="Address that people use, https://HOST, where a proxy with TLS is in front."
    ),
]
ProxiesOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_PROXIES",
        help="Proxies in front that write X-Forwarded-For, so that the audit log names people's own addresses.",
    ),
]
OpenOption = Annotated[
    bool | None,
    typer.Option(
        "--open-registration",
        envvar="FEDFLOW_OPEN_REGISTRATION",
        help="Let everybody make an account, without an invitation.",
    ),
]
FirstFederationOption = Annotated[
    str | None,
    typer.Option(
        "--federation", envvar="FEDFLOW_FEDERATION", help="What the first federation is called, at the first start."
    ),
]
OwnUrlOption = Annotated[
    str | None,
    typer.Option("--server", envvar="FEDFLOW_SERVER", help="The server's address; this machine's where not given."),
]


@server_app.callback(invoke_without_command=True)
def _server(
    context: typer.Context,
    folder: FolderOption = None,
    database_url: DatabaseOption = None,
    queue_url: QueueOption = None,
    store_url: StoreOption = None,
    cache_bytes: CacheOption = None,
    pictures: PicturesOption = None,
    imports: ImportsOption = None,
    hub_imports: HubOption = None,
    host: HostOption = None,
    port: PortOption = None,
    public_url: PublicUrlOption = None,
    open_registration: OpenOption = None,
    oidc_issuer: IssuerOption = None,
    oidc_client_id: ClientIdOption = None,
    oidc_client_secret: ClientSecretOption = None,
    oidc_name: ProviderNameOption = None,
    smtp_url: PostOption = None,
    mail_from: SenderOption = None,
    proxies: ProxiesOption = None,
    max_import_bytes: ImportBytesOption = None,
    max_upload_bytes: UploadBytesOption = None,
    upload_ttl_s: UploadLifeOption = None,
    code_ttl_s: CodeLifeOption = None,
    tryouts_waiting: WaitingOption = None,
    tryout_pictures_a_day: PicturesADayOption = None,
    tryout_pictures: TryoutPicturesOption = None,
    tryout_steps: TryoutStepsOption = None,
    tryout_size_pixels: TryoutSizeOption = None,
    tryout_ttl_s: TryoutLifeOption = None,
    threads: ThreadsOption = None,
    worker_threads: WorkerThreadsOption = None,
    federation: FirstFederationOption = None,
) -> None:
    """Start FedFlowServer: web process, worker and evaluator, until Ctrl-C."""
    context.obj = {
        "folder": folder,
        "pictures": pictures,
        "imports": imports,
        "hub_imports": hub_imports,
        "database_url": database_url,
        "queue_url": queue_url,
        "store_url": store_url,
        "cache_bytes": cache_bytes,
        "host": host,
        "port": port,
        "public_url": public_url,
        "open_registration": open_registration,
        "oidc_issuer": oidc_issuer,
        "oidc_client_id": oidc_client_id,
        "oidc_client_secret": oidc_client_secret,
        "oidc_name": oidc_name,
        "smtp_url": smtp_url,
        "mail_from": mail_from,
        "proxies": proxies,
        "max_import_bytes": max_import_bytes,
        "max_upload_bytes": max_upload_bytes,
        "upload_ttl_s": upload_ttl_s,
        "code_ttl_s": code_ttl_s,
        "tryouts_waiting": tryouts_waiting,
        "tryout_pictures_a_day": tryout_pictures_a_day,
        "tryout_pictures": tryout_pictures,
        "tryout_steps": tryout_steps,
        "tryout_size_pixels": tryout_size_pixels,
        "tryout_ttl_s": tryout_ttl_s,
        "threads": threads,
        "worker_threads": worker_threads,
    }
    command = context.invoked_subcommand
    if command not in {None, "prepare"} and _is_typed(context, "federation"):
        message = f"names what a first start makes, and '{command}' makes none; its own options stand behind it"
        raise typer.BadParameter(message, context, param_hint="'--federation'")
    if command is None:
        from fedflow.cli.server import run_server

        raise typer.Exit(run_server(_settings(context), federation))


@server_app.command("prepare")
def _prepare(
    context: typer.Context,
    federation: Annotated[str | None, typer.Option(help="What the first federation is called.")] = None,
) -> None:
    """Make what a first start needs, print the link for the first account until somebody has taken it up, and end.

    For servers whose parts are started one by one, before them.
    """
    from fedflow.cli.server import prepare

    assert context.parent is not None  # noqa: S101 - `fedflow server`, which has the option too
    prepare(_settings(context), federation or context.parent.params["federation"])


@server_app.command("web")
def _web(context: typer.Context) -> None:
    """The web process alone."""
    from fedflow.server.serve import serve

    serve(_settings(context))


@server_app.command("worker")
def _worker(context: typer.Context) -> None:
    """One more worker for the same database and data folder: it prepares runs, aggregates and exports."""
    from fedflow.cli.server import run_worker
    from fedflow.server.worker.main import ROUNDS

    run_worker(_settings(context), ROUNDS)


@server_app.command("evaluator")
def _evaluator(context: typer.Context) -> None:
    """One more worker of the other sort: it draws pictures with the rounds' models and measures them."""
    from fedflow.cli.server import run_worker
    from fedflow.server.worker.main import EVALUATION

    run_worker(_settings(context), EVALUATION)


@server_app.command("migrate")
def _migrate(context: typer.Context) -> None:
    """Bring the database's schema to this version of FedFlow."""
    from fedflow.cli.server import migrate

    migrate(_settings(context))


@server_app.command("backup")
def _backup(
    context: typer.Context, target: Annotated[Path, typer.Argument(help="File to write, such as fedflow.tar.")]
) -> None:
    """Write the server's whole state into one file; the server may run meanwhile."""
    from fedflow.cli.server import back_up

    back_up(_settings(context), target)


@server_app.command("restore")
def _restore(
    context: typer.Context, source: Annotated[Path, typer.Argument(help="File that 'backup' has written.")]
) -> None:
    """Make a server of a back-up, in a folder and a database that hold none yet."""
    from fedflow.cli.server import restore

    restore(_settings(context), source)


@server_app.command("new-token")
def _new_token(context: typer.Context) -> None:
    """Make a new coordinator's token, where the old one was lost or seen; the old one ends at once."""
    from fedflow.cli.server import renew_token

    renew_token(_settings(context))


@server_app.command("password-link")
def _password_link(
    context: typer.Context, email: Annotated[str, typer.Argument(help="The account's address.")]
) -> None:
    """Print a link with which somebody sets a new password; it works once, within a day."""
    from fedflow.cli.server import print_password_link

    print_password_link(_settings(context), email)


@server_app.command("import")
def _import(
    context: typer.Context,
    name: NameArgument,
    source: SourceArgument,
    kind: KindOption = "adapter",
    base: BaseOption = None,
    hub: FromHubOption = False,
    federation: FederationOption = None,
) -> None:
    """Bring a model or adapter of this machine into a federation's registry; the server may run meanwhile."""
    from fedflow.cli.bring_in import bring_in

    bring_in(_settings(context), name, source, kind=kind, base=base, hub=hub, federation=federation)


@audit_app.command("verify")
def _verify_audit(context: typer.Context) -> None:
    """Find any entry of the audit log that was altered or taken out; exit status 1 where there is one."""
    from fedflow.cli.server import verify_audit

    if not verify_audit(_settings(context)):
        raise typer.Exit(1)


@server_app.command("code")
def _code(
    context: typer.Context,
    member: Annotated[str, typer.Argument(help="Name of the member that joins with it.")],
    max_examples: Annotated[int | None, typer.Option(help="Most pictures that the member may claim.", min=1)] = None,
    federation: FederationOption = None,
    folder: FolderOption = None,
    url: OwnUrlOption = None,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Make a one-time code with which a participant joins."""
    from fedflow.cli.run import code

    coordinator = _own(context, url, token, token_file, folder)
    print(code(coordinator, member, federation, max_examples))


@server_app.command("members")
def _members(
    context: typer.Context,
    federation: FederationOption = None,
    folder: FolderOption = None,
    url: OwnUrlOption = None,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Print the federation's members and their machines."""
    from fedflow.cli.members import print_members

    print_members(_own(context, url, token, token_file, folder), federation)


@server_app.command("remove")
def _remove(
    context: typer.Context,
    member: Annotated[str, typer.Argument(help="Name of the member to shut out, with all its machines.")],
    federation: FederationOption = None,
    folder: FolderOption = None,
    url: OwnUrlOption = None,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Shut a member out at once; a new code lets it back in."""
    from fedflow.cli.members import remove

    remove(_own(context, url, token, token_file, folder), member, federation)


def _is_typed(context: typer.Context, option: str) -> bool:
    """Whether it stands in the command line; a variable is for all commands alike."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _settings(context: typer.Context) -> ServerSettings:
    from fedflow.cli.secret_files import with_files
    from fedflow.cli.server import default_folder, settings_of

    return settings_of(**with_files({**context.obj, "folder": context.obj["folder"] or default_folder()}))


def _own(
    context: typer.Context, url: str | None, token: str | None, token_file: Path | None, folder: Path | None
) -> Coordinator:
    """The server that `fedflow server` starts with the same options."""
    from fedflow.cli.server import own_address

    context.obj["folder"] = folder or context.obj["folder"]
    settings = _settings(context)
    return coordinator_of(url or own_address(settings), token, token_file, settings.folder)
