"""Daemon that uploads each image of the watched folders to the library exactly once."""

__version__ = "0.1.0"
API = "1.0"  # version of the control API; a different major version is incompatible


def describe_version() -> str:
    """Return the version, with the commit that the package was built from if it is known."""
    from pathlib import Path  # noqa: PLC0415 - only `--version` needs it

    try:
        return f"{__version__} (commit {Path(__file__).with_name('commit').read_text()})"
    except FileNotFoundError:
        return __version__
