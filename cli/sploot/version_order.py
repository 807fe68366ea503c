"""The order of versions."""


def is_older(version: str, than: str) -> bool:
    """Return True if `version` precedes `than`; False if either is not numeric."""
    try:
        return [int(part) for part in version.split(".")] < [int(part) for part in than.split(".")]
    except ValueError:
        return False
