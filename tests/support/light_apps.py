"""Apps that are made at less cost, as tests make hundreds of them, in whichever process.

Templates are compiled once for all apps, and how an address is built of its rule when it is first built: together they
were 40 % of what the tests of pages took.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask
from jinja2 import FileSystemBytecodeCache
from werkzeug.routing import Rule

# Beside the cache of pytest, which git does not see. What is kept of a template is kept by its text.
FOLDER = Path(__file__).parents[2] / ".pytest_cache" / "templates"

Build = Callable[..., tuple[str, str]]

_compiled: Callable[[Rule, bool], Build] = Rule._compile_builder


def _compiled_late(rule: Rule, append_unknown: bool = True) -> Build:
    found: list[Build] = []

    def build(*words: object, **values: object) -> tuple[str, str]:
        if not found:
            found.append(_compiled(rule, append_unknown))
        return found[0](*words, **values)

    return build


FOLDER.mkdir(parents=True, exist_ok=True)
Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": FileSystemBytecodeCache(str(FOLDER))}
Rule._compile_builder = _compiled_late  # type: ignore[method-assign, assignment]
