"""Whose an address is, for what is counted of one caller."""

from __future__ import annotations

import ipaddress

IPV6_PREFIX = 64
"""One household has so many of IPv6's addresses as have these bits in common."""


def network(address: str) -> str:
    """Whose an address is: itself, or the network that one household has of IPv6's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
