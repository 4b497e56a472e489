"""What a browser is called, of what it calls itself."""

from __future__ import annotations

from flask_babel import gettext

BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari/", "Safari"),
    ("Firefox", "Firefox"),
)
"""What stands in a browser's name for itself, the more special first: nearly all call themselves Safari too."""

SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def named(agent: str) -> str:
    """'Firefox on Linux', of what a browser calls itself."""
    program = next((name for part, name in BROWSERS if part in agent), "")
    system = next((name for part, name in SYSTEMS if part in agent), "")
    if program and system:
        return str(gettext("%(program)s on %(system)s", program=program, system=system))
    return program or system or agent.partition(" ")[0] or str(gettext("Unknown browser"))
