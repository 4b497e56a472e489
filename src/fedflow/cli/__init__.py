"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """`fedflow`. Its commands are imported here and not above, so that Ctrl-C meanwhile is one line as well."""
    try:
        from fedflow.cli.entry import run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        print("fedflow: stopped", file=sys.stderr)
        sys.exit(130)
