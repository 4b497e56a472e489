"""How the participant's app runs on this machine."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fedflow.plan import Settings

PORT = 8450


class ClientSettings(Settings):
    """Where the app keeps its things and where it listens."""

    folder: Path = Field(description="Folder of the app's database, pictures and models.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(PORT, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    password: str | None = Field(None, description="Asked for where the app listens beyond this machine.")
    threads: int = Field(2, ge=1, description="Threads that draw and train.")

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


def default_folder() -> Path:
    """Where the app keeps its things unless told otherwise."""
    return Path.home() / ".local" / "share" / "fedflow-client"
