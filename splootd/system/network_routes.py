"""Read the kernel's routing table, to detect a change of network."""

from pathlib import Path

ROUTE_TABLE = Path("/proc/net/route")
ROUTE_COLUMNS = 3  # interface, destination, gateway; the later columns include use counters, which always change


def read_routes(table: Path = ROUTE_TABLE) -> frozenset[str]:
    """Return the IPv4 routes; empty without /proc, as on macOS, where no change is detected."""
    try:
        lines = table.read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(" ".join(line.split()[:ROUTE_COLUMNS]) for line in lines[1:])
