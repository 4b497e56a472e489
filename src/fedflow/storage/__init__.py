"""Files that are whole or not there: atomic writes, JSON, content-addressed blobs."""

from __future__ import annotations

from fedflow.storage.atomic import sync_folder, write_atomic
from fedflow.storage.blobs import Blobs, BlobStore, sha256_file
from fedflow.storage.cached_blobs import CachedBlobs
from fedflow.storage.json_files import read_json, write_json
from fedflow.storage.objects import Objects

__all__ = [
    "BlobStore",
    "Blobs",
    "CachedBlobs",
    "Objects",
    "read_json",
    "sha256_file",
    "sync_folder",
    "write_atomic",
    "write_json",
]
