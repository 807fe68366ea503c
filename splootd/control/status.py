"""Builds the status reply. Its counts always add up, and its cost does not depend on the number of items."""

import os
import resource
import sys
from pathlib import Path

from splootd import __version__, protocol
from splootd.control import serializers
from splootd.control.context import Context
from splootd.control.disk_space import find_full_disk
from splootd.control.explain import list_actions_required
from splootd.core.item import State
from splootd.remote.silence import SILENCE_S
from splootd.store.recovery import RECOVERY_NOTICE


async def build_status(context: Context, started_at: float, *, draining: bool) -> protocol.Status:
    """Build the status; `started_at` is in seconds since the epoch."""
    counts, folders = await context.read_queries.counts(), await folder_rows(context)
    items = {state.value: counts.by_state.get(state, 0) for state in State}
    unsearchable = await context.read_queries.unsearchable_count() if items[State.FAILED] else 0
    remaining, items_per_s = items[State.PENDING] + items[State.UPLOADING], context.metrics.items_per_s
    signed_out = context.admission.detail if context.admission.is_signed_out else None
    eta_s = remaining / items_per_s if remaining and items_per_s and not context.admission.is_paused else None
    return protocol.Status(
        daemon=protocol.DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            uptime_s=max(0.0, context.clock.now() - started_at),
            state="draining" if draining else "paused" if context.admission.is_paused else "running",
            rss_bytes=get_rss_bytes(),
        ),
        server=get_server_status(context),
        items={"total": sum(items.values()), **items},
        duplicates=counts.duplicates,
        delayed=counts.delayed,
        rates=protocol.Rates(items_per_s, context.metrics.bytes_per_s, eta_s),
        folders=folders,
        actions_required=(
            *filter(None, (await find_full_disk(context),)),
            *await _recovery_notices(context),
            *context.extra_actions_required(),
            *list_actions_required(
                items[State.FAILED] - unsearchable, signed_out, folders, unsearchable_count=unsearchable
            ),
        ),
    )


async def _recovery_notices(context: Context) -> list[protocol.ActionRequired]:
    """Return the notice about a recovered database, until the user acknowledges it."""
    notice = await context.settings_store.get(RECOVERY_NOTICE)
    return [protocol.ActionRequired(notice, 1, "sploot resume")] if notice else []


async def folder_rows(context: Context) -> tuple[protocol.FolderRow, ...]:
    """Return the watched folders with their health."""
    folders = await context.folder_store.folders()
    return tuple(serializers.to_folder_row(folder, *context.watcher.health(folder.id)) for folder in folders)


def get_connection_state(context: Context) -> dict[str, str]:
    """Return the part of the status that can change without an item event."""
    server = get_server_status(context)
    daemon = "paused" if context.admission.is_paused else "running"
    return {"daemon": daemon, "server": server.state, "breaker": server.breaker, "push": server.push}


def get_server_status(context: Context) -> protocol.ServerStatus:
    admission, silence_s = context.admission, context.client.silence.seconds
    state, detail = str(admission.state), admission.detail
    if state in ("ok", "unreachable") and silence_s >= SILENCE_S:
        state, detail = "silent", f"no response to any request for {silence_s:.0f} s"
    elif state == "ok" and not context.client.silence.has_responded:
        state = "unknown"
    return protocol.ServerStatus(
        url=context.config.server,
        is_local=context.config.is_local,
        state=state,
        breaker=admission.breaker.state.value,
        push=context.push_subscriptions.state,
        retry_at=serializers.format_iso_or_none(admission.retry_at),
        detail=detail or context.server_activity(),
        proxy=str(context.client.proxy) if context.client.proxy else None,
    )


def get_rss_bytes() -> int:
    """Return the resident memory of this process; on systems without /proc, its peak."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
