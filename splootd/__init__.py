"""Daemon that uploads each image of the watched folders to the library exactly once."""

__version__ = "0.1.0"
API = "1.0"  # version of the control API; a different major version is incompatible
