"""Picture folders: what is in them, what is wrong with them, and their pixels."""

from __future__ import annotations

from fedflow.datasets.captions import caption_tags
from fedflow.datasets.folder import content_hash, files_of, read_folder
from fedflow.datasets.pixels import load_pixels
from fedflow.datasets.records import Dataset, Picture, Problem

__all__ = [
    "Dataset",
    "Picture",
    "Problem",
    "caption_tags",
    "content_hash",
    "files_of",
    "load_pixels",
    "read_folder",
]
