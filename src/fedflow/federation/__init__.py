"""Rounds as logic without I/O (`rounds`, `participant`), and what carries them on one machine (`simulation`)."""
