"""Every setting of FedFlowServer, described once."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from fedflow.plan import Settings
from fedflow.storage.objects import URL as S3_URL

DAY_S = 86_400
ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")
DATABASES = ("sqlite", "postgresql+psycopg")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
POST_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
QUEUES = ("redis", "rediss", "unix", "postgresql+psycopg")


class ServerSettings(Settings):
    """What a server is started with. Relative folders count from where it is started."""

    folder: Path = Field(description="Folder of the server's data: database, blobs, uploads, quarantine.")
    database_url: str | None = Field(
        None, description="'postgresql+psycopg://user@host/name'; without it, SQLite in the folder."
    )
    queue_url: str | None = Field(
        None, description="'redis://host:port/number' for the queue of jobs; without it, a file in the folder."
    )
    store_url: str | None = Field(
        None,
        description="'s3://bucket/prefix' for files in an S3-compatible store; without it, they are in the folder.",
    )
    cache_bytes: int = Field(
        20_000_000_000, ge=1, description="Room in the folder for copies of files that are in an S3-compatible store."
    )
    pictures: Path | None = Field(
        None, description="Folder with folders of held-out pictures that rounds are scored against."
    )
    imports: Path | None = Field(
        None,
        description="Folder that its administrators may import from, and its coordinators start runs from; none where "
        "not given.",
    )
    hub_imports: bool = Field(
        False, description="Whether coordinators may import, and start runs, by a name on the model hub."
    )
    max_import_bytes: int = Field(10_000_000_000, ge=1, description="Largest model or adapter that is taken in.")
    host: str = Field("127.0.0.1", description="Address to listen on; '0.0.0.0' for all of this machine's.")
    port: int = Field(8440, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None,
        description="Address that people and devices use, as 'https://fedflow.example', where a proxy is in front.",
    )
    proxies: int = Field(
        0, ge=0, le=9, description="Proxies in front that add their client's address to X-Forwarded-For; 0 heeds none."
    )
    open_registration: bool = Field(False, description="Whether everybody may make an account, without an invitation.")
    smtp_url: str | None = Field(
        None,
        description="Where letters are given in: 'smtps://USER:PASSWORD@HOST', 'smtp+starttls://...', or 'smtp://HOST' "
        "without encryption; without it the server sends none, and shows its links.",
    )
    mail_from: str | None = Field(None, description="The address that letters come from.")
    oidc_issuer: str | None = Field(
        None, description="Address of the OpenID provider that people may sign in with, as 'https://login.example'."
    )
    oidc_client_id: str | None = Field(None, description="What the provider knows this server as.")
    oidc_client_secret: str | None = Field(
        None, description="The secret that the provider gave this server; none for a public client."
    )
    oidc_name: str | None = Field(
        None, max_length=40, description="What the provider is called on the sign-in page; its host where not given."
    )
    code_ttl_s: float = Field(7 * DAY_S, strict=False, gt=0, description="Life of a join code that nobody uses.")
    max_upload_bytes: int = Field(20_000_000_000, ge=1, description="Largest update that a device may send.")
    upload_ttl_s: float = Field(
        2 * DAY_S, strict=False, gt=0, description="Life of an upload that nobody goes on with."
    )
    tryouts_waiting: int = Field(3, ge=1, description="Try-outs that one person may have waiting or being drawn.")
    tryout_pictures_a_day: int = Field(
        60, ge=0, description="Pictures that one person may have drawn in 24 hours; 0 lets nobody try releases out."
    )
    tryout_pictures: int = Field(4, ge=1, le=64, description="Most pictures of one try-out.")
    tryout_steps: int = Field(50, ge=1, le=1000, description="Most denoising steps of a try-out's picture.")
    tryout_size_pixels: int = Field(
        768, ge=16, le=4096, description="Largest side that a try-out may ask for; the model's own is always allowed."
    )
    tryout_ttl_s: float = Field(
        7 * DAY_S, strict=False, ge=DAY_S, description="Time that a try-out's pictures are kept after it is over."
    )
    threads: int = Field(200, ge=2, le=512, description="Requests that the web process answers at once.")
    worker_threads: int = Field(1, ge=1, description="Threads of each process that computes.")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(tuple(f"{kind}:" for kind in DATABASES)):
            raise ValueError(f"begins with none of {', '.join(f'{kind}:' for kind in DATABASES)}")
        return url

    @field_validator("queue_url")
    @classmethod
    def _known_queue(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(tuple(f"{kind}://" for kind in QUEUES)):
            raise ValueError(
                "give redis://HOST:PORT/N or postgresql+psycopg://USER@HOST/NAME, or leave it out for a queue in the "
                "data folder"
            )
        return url

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, url: str | None) -> str | None:
        if url is not None and not S3_URL.fullmatch(url):
            raise ValueError("give s3://BUCKET or s3://BUCKET/PREFIX; keys and endpoint come from AWS_... variables")
        return url

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and not ADDRESS.fullmatch(url):
            raise ValueError("give https://HOST, as people write it in their browser, and nothing behind the host")
        return None if url is None else url.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, url: str | None) -> str | None:
        if url is not None and not is_guarded(url):
            raise ValueError("give https://HOST..., exactly as the provider names itself")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _is_post(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in POST_PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("give smtps://USER:PASSWORD@HOST:PORT, smtp+starttls://... or smtp://HOST:PORT")
        if parts.password and parts.scheme == "smtp" and parts.hostname not in LOOPBACK:
            raise ValueError("would send the password so that others can read it; give smtps:// or smtp+starttls://")
        return url

    @model_validator(mode="after")
    def _post_is_whole(self) -> ServerSettings:
        if self.smtp_url is not None and (self.mail_from is None or self.public_url is None):
            raise ValueError("--smtp-url: goes with --mail-from and --public-url; give these too")
        return self

    @model_validator(mode="after")
    def _provider_is_whole(self) -> ServerSettings:
        if self.oidc_issuer is not None and (self.oidc_client_id is None or self.public_url is None):
            raise ValueError("--oidc-issuer: goes with --oidc-client-id and --public-url; give these too")
        return self

    @property
    def sends_letters(self) -> bool:
        """Whether there is an SMTP server that takes letters."""
        return self.smtp_url is not None

    @property
    def url_options(self) -> list[str]:
        """The options beside `--folder` that lead to its database and files; what is in them may be secret."""
        given = {"--database-url": self.database_url, "--store-url": self.store_url}
        return [option for option, url in given.items() if url]

    @property
    def provider_name(self) -> str | None:
        """What people call the provider that they may sign in with; None where there is none."""
        return self.oidc_issuer and (self.oidc_name or urlsplit(self.oidc_issuer).hostname)

    @property
    def url(self) -> str:
        """The database's URL, of SQLite in the folder where none was given."""
        return self.database_url or f"sqlite:///{self.folder.absolute() / 'server.db'}"


def is_guarded(url: str) -> bool:
    """Whether what is sent to `url` can be read by nobody on the way: https, or this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))
