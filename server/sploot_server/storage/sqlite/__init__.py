"""The storage interfaces on SQLite."""
