"""JSON files, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedflow.errors import StorageError
from fedflow.storage.atomic import write_atomic


def write_json(path: Path, content: object) -> None:
    """Replace `path` by `content` as indented UTF-8 JSON, keys in the order given.

    Strict JSON has no NaN: a number that is missing is None. Raises StorageError as `write_atomic` does.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is not UTF-8 holds lone surrogates; backslashreplace writes them as JSON's own \\udcXX.
    write_atomic(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Any:
    """The content of `path`. Raises StorageError where it is missing, unreadable or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(f"{path}: is not there; check the path") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); check its permission and the disk") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise StorageError(f"{path}: is not JSON ({where}); repair it or remove it") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"{path}: is not UTF-8 (byte {error.start}); repair it or remove it") from error
    except RecursionError as error:
        raise StorageError(f"{path}: is nested too deeply to be a file of FedFlow; remove it") from error
