"""Files that are whole or not there: atomic writes, JSON, content-addressed blobs."""

from __future__ import annotations

from fedflow.storage.atomic import sync_folder, write_atomic
from fedflow.storage.blobs import Blobs, sha256_file
from fedflow.storage.json_files import read_json, write_json

__all__ = ["Blobs", "read_json", "sha256_file", "sync_folder", "write_atomic", "write_json"]
