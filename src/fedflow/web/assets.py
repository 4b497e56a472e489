"""Static files under addresses that hold their content's hash, so that a browser asks for each only once."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import Response, abort, request

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

PACKED = (".css", ".js", ".json", ".svg", ".txt")
"""What is worth compressing; pictures and fonts are compressed already."""

FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file in memory: as it is, and compressed where that helps."""

    kind: str
    content: bytes
    packed: bytes | None


class Assets:
    """The files of some folders, few and small, held in memory.

    `version` is of all together, so that a stylesheet may name its neighbours by relative addresses.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """`folders`: under which first part of the name each folder's files are found, as in 'web/base.css'."""
        self._files = {
            f"{prefix}/{path.relative_to(folder).as_posix()}": _read(path)
            for prefix, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES and path.is_file()
        }
        digest = hashlib.sha256()
        for name, asset in sorted(self._files.items()):
            digest.update(f"{name}\0{len(asset.content)}\0".encode() + asset.content)
        self.version = digest.hexdigest()[:16]

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def serve(self, version: str, name: str) -> Response:
        """The file; forever where `version` is ours, else unkept: while servers are replaced, two versions answer."""
        asset = self._files.get(name)
        if asset is None:
            abort(404)
        packed = asset.packed if request.accept_encodings["gzip"] > 0 else None
        response = Response(packed or asset.content, mimetype=asset.kind)
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        if asset.packed:
            response.vary.add("Accept-Encoding")
        response.headers["Cache-Control"] = FOREVER if version == self.version else "no-store"
        return response


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    packed = gzip.compress(content, mtime=0) if path.suffix in PACKED else None
    return Asset(TYPES[path.suffix], content, packed)
