"""Settings that hold a secret, read from files: what a container or systemd hands over shows in no environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fedflow.errors import MistakeError

SECRET = ("database_url", "queue_url", "oidc_client_secret", "smtp_url")


def with_files(given: Mapping[str, object]) -> dict[str, object]:
    """The settings, with the content of FEDFLOW_<NAME>_FILE's file for each secret one that is not given itself.

    Raises MistakeError where such a file cannot be read or is empty.
    """
    found = dict(given)
    for name in SECRET:
        variable = f"FEDFLOW_{name.upper()}_FILE"
        path = os.environ.get(variable)
        if found.get(name) is None and path:
            found[name] = _content(variable, path)
    return found


def _content(variable: str, path: str) -> str:
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise MistakeError(f"{variable}={path}: cannot be read ({why}); name a file with the setting in it") from error
    if not content:
        raise MistakeError(f"{variable}={path}: is empty; write the setting into it")
    return content
