"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

from fedflow.cli.entry import main

__all__ = ["main"]
