"""From where the app can be reached, and what is said of that when it starts."""

from __future__ import annotations

import socket

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with
"""Addresses that are listened on, and are none to go to."""
BEYOND = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of nobody (RFC 5737, RFC 3849): a way there begins at this machine's own. Nothing is sent."""


def address(host: str, port: int) -> str:
    """Where a browser opens the app that listens on `host`."""
    named = own_address(host) if host in EVERYWHERE else host
    return f"http://{f'[{named}]' if ':' in named else named}:{port}"


def own_address(host: str) -> str:
    """This machine's address in its network, of the kind of `host`; its name where it has none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((BEYOND[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def told(host: str, port: int, *, is_private: bool) -> str:
    """What is said at the start."""
    opened = f"FedFlow is open at {address(host, port)}; Ctrl-C ends it."
    if is_private:
        return opened
    return (
        f"{opened}\nOthers in the network reach it there, with the password. What they send and see is not encrypted: "
        "put a proxy with TLS (https) in front, or use a network that you trust."
    )
