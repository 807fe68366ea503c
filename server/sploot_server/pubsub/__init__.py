"""Publish/subscribe of library events within one process and between processes."""
