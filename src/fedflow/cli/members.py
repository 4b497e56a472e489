"""`fedflow server members` and `remove`: who takes part in a federation, and shutting one out."""

from __future__ import annotations

from typing import Any

from fedflow.cli.run import Coordinator
from fedflow.client.answers import printable
from fedflow.errors import MistakeError


def print_members(coordinator: Coordinator, federation: str | None) -> None:
    """Print the federation's members, a line each, with their machines."""
    found = _members(coordinator, federation)
    for member in found:
        print(f"{printable(member['name']):<20}  {_state(member)}")
    if not found:
        print("No member yet; 'fedflow server code MEMBER' makes a code to join with.")


def remove(coordinator: Coordinator, name: str, federation: str | None) -> None:
    """Shut the member of this name out, with all its machines. Twice changes nothing.

    Raises MistakeError where there is none.
    """
    found = {member["name"]: member for member in _members(coordinator, federation)}
    if name not in found:
        there = printable(", ".join(sorted(each for each in found if not found[each]["removed"])) or "none")
        raise MistakeError(f"there is no member {name!r}; the federation has {there}")
    was_removed = found[name]["removed"]
    if not was_removed:
        coordinator.delete(f"/members/{found[name]['id']}")
    print(
        f"{'was removed already' if was_removed else 'removed'}: {printable(name)}; 'fedflow server code MEMBER' makes "
        "a code that lets it back in"
    )


def _members(coordinator: Coordinator, federation: str | None) -> list[dict[str, Any]]:
    return list(coordinator.pages(f"/federations/{coordinator.federation(federation)}/members"))


def _state(member: dict[str, Any]) -> str:
    if member["removed"]:
        return "removed"
    devices = ", ".join(
        f"{printable(device['name'])}{' (revoked)' if device['revoked'] else ''}" for device in member["devices"]
    )
    return f"at most {member['max_examples']} pictures, on: {devices or 'no machine'}"
