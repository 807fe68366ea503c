"""Where everything stands, in one answer that always adds up. It costs the same with ten items and with a million."""

import os
import resource
import sys
from pathlib import Path

from splootd import __version__, protocol
from splootd.control import views
from splootd.control.parts import Parts
from splootd.control.story import needs
from splootd.core.item import State
from splootd.store.rescue import MISHAP


async def status(parts: Parts, started_at: float, *, draining: bool) -> protocol.Status:
    """`started_at` is in epoch seconds."""
    counts, folders = await parts.listing.counts(), await folder_rows(parts)
    items = {state.value: counts.by_state.get(state, 0) for state in State}
    left, speed = items[State.PENDING] + items[State.UPLOADING], parts.traffic.items_per_s
    signed_out = parts.gate.detail if parts.gate.signed_out else None
    eta_s = left / speed if left and speed and not parts.gate.paused else None
    return protocol.Status(
        daemon=protocol.DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            uptime_s=max(0.0, parts.clock.now() - started_at),
            state="draining" if draining else "paused" if parts.gate.paused else "running",
            rss_bytes=rss_bytes(),
        ),
        server=server_status(parts),
        items={"total": sum(items.values()), **items},
        ready_of_which_duplicates=counts.duplicates,
        pending_of_which_delayed=counts.delayed,
        rates=protocol.Rates(speed, parts.traffic.bytes_per_s, eta_s),
        folders=folders,
        needs_you=(*await _mishaps(parts), *parts.more_needs(), *needs(items[State.DEAD], signed_out, folders)),
    )


async def _mishaps(parts: Parts) -> list[protocol.Need]:
    """What became of a damaged queue, until the user says that it was read."""
    sentence = await parts.listing.setting(MISHAP)
    return [protocol.Need(sentence, 1, "sploot resume")] if sentence else []


async def folder_rows(parts: Parts) -> tuple[protocol.FolderRow, ...]:
    """The watched folders with the watcher's health."""
    folders = await parts.arrivals.folders()
    return tuple(views.folder_row(folder, *parts.watcher.health(folder.id)) for folder in folders)


def standing(parts: Parts) -> dict[str, str]:
    """The part of the status that changes without any item changing."""
    server = server_status(parts)
    daemon = "paused" if parts.gate.paused else "running"
    return {"daemon": daemon, "server": server.state, "breaker": server.breaker, "push": server.push}


def server_status(parts: Parts) -> protocol.ServerStatus:
    gate = parts.gate
    return protocol.ServerStatus(
        url=parts.config.server,
        embedded=parts.config.is_local,
        state=gate.state,
        breaker=gate.breaker.mood.value,
        push=parts.inbox.state,
        retry_at=views.iso_or_none(gate.retry_at),
        detail=gate.detail,
    )


def rss_bytes() -> int:
    """The memory that this process has in use; where the system does not say, the most it ever had."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
