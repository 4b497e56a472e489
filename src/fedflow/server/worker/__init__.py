"""The process that aggregates: the only part of the server that imports torch."""
