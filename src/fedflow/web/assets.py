"""Static files under addresses that hold their content's hash, so that a browser asks for each only once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from flask import Response, abort, send_file

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
}
"""What is served at all, and as what; Python's own table depends on the machine."""

FOREVER = "public, max-age=31536000, immutable"


class Assets:
    """The files of some folders. `version` is of all together, so a stylesheet may name its neighbours."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """`folders`: under which first part of the name each folder's files are found, as in 'web/base.css'."""
        self._files = {
            f"{prefix}/{path.relative_to(folder).as_posix()}": path
            for prefix, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES and path.is_file()
        }
        digest = hashlib.sha256()
        for name, path in sorted(self._files.items()):
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:16]

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def serve(self, version: str, name: str) -> Response:
        """The file; forever where `version` is ours, else unkept: while servers are replaced, two versions answer."""
        path = self._files.get(name)
        if path is None:
            abort(404)
        response = send_file(path.absolute(), mimetype=TYPES[path.suffix], conditional=True)
        response.headers["Cache-Control"] = FOREVER if version == self.version else "no-store"
        return response
