"""Addresses of servers, as people write them and as they are kept."""

from __future__ import annotations

import re

import httpx

from fedflow.errors import MistakeError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def server_address(url: str) -> str:
    """The address as it is kept, without a slash at the end. Raises MistakeError for what is none.

    One without a scheme is of https, as people write a host, or of this machine.
    """
    wanted = url.strip()
    if wanted and "://" not in wanted:
        name = wanted.partition("/")[0].rpartition(":")[0] or wanted.partition("/")[0]
        wanted = f"{'http' if name in LOOPBACK | {'[::1]'} else 'https'}://{wanted}"
    try:
        parsed = httpx.URL(wanted)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    is_host = re.fullmatch(r"[\w.:-]+", parsed.host) is not None  # a blank would be there as %20
    if parsed.scheme not in ("http", "https") or not is_host or parsed.query or parsed.userinfo:
        raise MistakeError(f"{url!r}: is no address of a server; give one such as https://example.org")
    return str(parsed).rstrip("/")


def sign_in_page(server: str, user_code: str) -> str:
    """The address of the server's page on which a person lets a device in that shows `user_code`."""
    return f"{server}/device?code={user_code}"


def is_private(server: str) -> bool:
    """Whether nobody on the way can read what is sent to this address."""
    parsed = httpx.URL(server)
    return parsed.scheme == "https" or parsed.host in LOOPBACK
