"""Templates that are compiled once for all apps that tests make, in whichever process.

Jinja compiles for each app anew, which was a third of what the tests of pages took.
"""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from jinja2 import FileSystemBytecodeCache

# Beside the cache of pytest, which git does not see. What is kept of a template is kept by its text.
FOLDER = Path(__file__).parents[2] / ".pytest_cache" / "templates"

FOLDER.mkdir(parents=True, exist_ok=True)
Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": FileSystemBytecodeCache(str(FOLDER))}
