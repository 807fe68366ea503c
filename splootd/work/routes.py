"""By which ways this machine reaches others: another set of them is another network."""

from pathlib import Path

TABLE = Path("/proc/net/route")
COLUMNS = 3  # interface, destination, gateway; the others count uses


def routes(table: Path = TABLE) -> frozenset[str]:
    """The routes of the kernel's table; empty where there is none, as on macOS: then no change is ever seen."""
    try:
        lines = table.read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(" ".join(line.split()[:COLUMNS]) for line in lines[1:])
