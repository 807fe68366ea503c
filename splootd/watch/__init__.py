"""Watched folders: file events, scans, and the import of found files."""
