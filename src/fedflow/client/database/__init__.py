"""The app's own database: SQLite in its folder."""
