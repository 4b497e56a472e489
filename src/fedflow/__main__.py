"""`python -m fedflow`: the same as the command `fedflow`."""

from __future__ import annotations

from fedflow.cli import main

main()
