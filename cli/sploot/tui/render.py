"""Renders replies of the daemon as lines of the terminal UI. Pure.

Colours are the terminal's own, and no information depends on colour alone.
"""

from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len, set_cell_size

from sploot import render
from sploot.formatting import escape_unprintable, format_count, format_duration, format_path, format_size, format_time
from sploot.render import Style
from sploot.tui.transfer_rates import Transfer
from splootd.protocol import ItemRow, Report, Status

BAR_WIDTH = 12
COUNT_LINES_MAX = 3
KEY_HINTS = (
    "? help",
    "/ search",
    "s state",
    "r retry",
    "b bump",
    "f forget",
    "p pause",
    "m metrics",
    "q quit",
    "enter why",
    "o open",
    "n folder",
    "escape all",
)
HELP_LINES = (
    "up down, pgup pgdn    move through the queue, newest files first",
    "home end              to the newest, to the oldest",
    "enter                 why: the state of the file, its attempts, what happens next",
    "/                     find files by words in their names",
    "s  S                  show the next or previous state: Waiting, Uploading, ...",
    "o                     open the file",
    "n                     show the next watched folder",
    "escape                show all files again",
    "r                     retry: put a failed file back at the front of the queue",
    "b                     bump: move a file to the front of the queue",
    "f                     forget: remove a file from the queue, not from disk or server",
    "p                     pause or resume uploads",
    "m                     metrics, refreshed every second (also ctrl+shift+m)",
    "q                     quit; uploading continues in the background",
)


def truncate(text: str, width: int) -> str:
    """Shorten `text` to at most `width` cells."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…" * (width > 0)


def truncate_path(path: str, width: int) -> str:
    """Shorten a path to at most `width` cells. Folders are cut before the file name."""
    shown = format_path(path)
    if cell_len(shown) <= width:
        return shown
    name = shown.rpartition("/")[2]
    room = width - cell_len(name) - 2
    if room < 0:
        return truncate(name, width)
    kept = shown[: -len(name) - 1][-room:] if room else ""
    while cell_len(kept) > room:
        kept = kept[1:]
    return f"…{kept}/{name}"


def render_header(status: Status, style: Style, width: int) -> list[str]:
    """Render the state of daemon and server, the counts, the activity and the first required action."""
    daemon, server = status.daemon, status.server
    name = "local server" if server.is_local else escape_unprintable(server.url)
    state = render.SERVER_STATE_TEXTS.get(server.state, server.state.replace("_", " "))
    parts = [
        ("sploot", style.bold),
        (daemon.state, style.good if daemon.state == "running" else style.warn),
        (f"{name}: {state}", style.good if server.state == "ok" else style.warn),
    ]
    lines = [_join_parts(parts, width), *_wrap_counts(status, style, width), _render_activity(status, style, width)]
    if status.actions_required:
        action, more = status.actions_required[0], len(status.actions_required) - 1
        action_line = f"action: {escape_unprintable(action.what)} -> {escape_unprintable(action.command)}" + (
            f"  ({more} more: sploot status)" * bool(more)
        )
        lines.append(style.warn(truncate(action_line, width)))
    return lines


def _join_parts(parts: Iterable[tuple[str, Callable[[str], str]]], width: int) -> str:
    """Join as many parts as fit into `width`."""
    line, remaining = "", width
    for text, paint in parts:
        gap = "   " if line else ""
        if cell_len(text) + len(gap) > remaining:
            break
        line += gap + paint(text)
        remaining -= cell_len(text) + len(gap)
    return line


def _wrap_counts(status: Status, style: Style, width: int) -> list[str]:
    """Render the counts, wrapped before a plus sign."""
    lines: list[str] = []
    plain = render.render_counts(status).split(" + ")
    painted = render.render_counts(status, style).split(" + ")
    room = 0
    for bare, term in zip(plain, painted, strict=True):
        if lines and cell_len(bare) + 3 <= room:
            lines[-1] += f" + {term}"
            room -= cell_len(bare) + 3
        else:
            lines.append(f"  + {term}" if lines else term)
            room = width - cell_len(bare) - (4 if len(lines) > 1 else 0)
    return lines[:COUNT_LINES_MAX]


def _render_activity(status: Status, style: Style, width: int) -> str:
    server = status.server
    if server.detail:
        next_attempt = f"; retry at {format_time(server.retry_at)[11:]}" if server.retry_at else ""
        return style.warn(truncate(f"{escape_unprintable(server.detail)}{next_attempt}", width))
    if status.daemon.state == "paused":
        waiting = format_count(status.items.get("pending", 0), "file")
        return style.warn(truncate(f"uploads are paused, {waiting} waiting; to resume: p", width))
    if status.items.get("pending") or status.items.get("uploading"):
        return truncate(render.render_rates(status.rates), width)
    if status.items.get("embedding"):
        return truncate(
            f"all files are uploaded; {format_count(status.items['embedding'], 'file')} still being processed", width
        )
    return style.dim(truncate("no files waiting", width))


def render_pace(transfer_count: int, status: Status | None) -> str:
    """Render how many uploads run, how many files are processed, and how many are finished per second, if any are."""
    processing = status.items.get("embedding", 0) if status else 0
    pace = f"{status.rates.items_per_s:.1f} files/s" if status and status.rates.items_per_s else ""
    counts = (f"{transfer_count} uploading" * bool(transfer_count), f"{processing:,} processing" * bool(processing))
    return "  ".join(part for part in (*counts, pace) if part)


def render_active(
    transfers: Sequence[Transfer], processing: Sequence[ItemRow], count: int, style: Style, *, width: int, height: int
) -> list[str]:
    """Render the files that are worked on, one per line: uploads first. The last line counts those that do not fit."""
    lines = [
        *(_render_transfer(each, width) for each in transfers),
        *(_render_processing(each, width) for each in processing),
    ]
    if not lines:
        return [style.dim("no files")]
    if count > len(lines) or len(lines) > height:
        lines = lines[: height - 1]
        lines.append(style.dim(f"and {count - len(lines):,} more" if lines else format_count(count, "file")))
    return lines


def _render_transfer(transfer: Transfer, width: int) -> str:
    fraction = min(1.0, transfer.sent / transfer.size) if transfer.size else 1.0
    filled = int(fraction * BAR_WIDTH)
    speed = f"{format_size(transfer.bytes_per_s)}/s" if transfer.bytes_per_s is not None else ""
    bar = f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"
    start = f"{bar} {fraction:4.0%}  {format_size(transfer.sent):>7} of {format_size(transfer.size):<7}  {speed:>9}  "
    return start + truncate_path(transfer.path, max(0, width - len(start)))


def _render_processing(row: ItemRow, width: int) -> str:
    start = f"{render.STATE_LABELS[row.state]:<{BAR_WIDTH + 2}}{'':18}{format_size(row.size):<7}{'':13}"
    return start + truncate_path(row.path, max(0, width - len(start)))


def render_rule(title: str, right: str, style: Style, width: int) -> str:
    """Render a horizontal rule with a title on the left and text on the right."""
    title, end = truncate(title, max(0, width - len(right) - 4)), f" {right}" if right else ""
    dashes = "─" * max(0, width - cell_len(title) - 1 - len(end))
    return f"{style.bold(title)} {style.dim(dashes)}{end}"


def render_row(row: ItemRow, width: int) -> tuple[str, str, str]:
    """Render one row in three parts: state and size, path, message. Together they fill `width` cells."""
    mark = "!" if row.priority == "urgent" and row.state == "pending" else " "
    start = f"{mark}{render.STATE_LABELS.get(row.state, row.state):<10}  {format_size(row.size):>7}  "
    remaining = max(0, width - len(start))
    message = _row_message(row)
    room = remaining - 3 - min(cell_len(message), remaining // 2) if message else remaining
    file = truncate_path(row.path, max(0, room))
    rest = max(0, remaining - cell_len(file))
    message = truncate(f"   {message}" if message else "", rest)
    return start[:width], file, message + " " * (rest - cell_len(message))


def _row_message(row: ItemRow) -> str:
    """Return the error message without the file name that it may begin with, which the row shows already."""
    if not row.error_message:
        return "duplicate" if row.duplicate else ""
    message = row.error_message.removeprefix(row.path.rpartition("/")[2]).lstrip(": ")
    return escape_unprintable(" ".join(message.split()))


def render_metrics(status: Status, report: Report, style: Style) -> list[str]:
    """Render memory, rates, API calls, latencies and errors."""
    memory = report.memory
    daemon, version = status.daemon, escape_unprintable(status.daemon.version)
    average = f"{format_size(memory.average_bytes)} average of 5 min"
    lines = [
        f"memory   {format_size(memory.now_bytes)} now   {format_size(memory.peak_bytes)} peak   {average}",
        f"rates    {render.render_rates(status.rates)}",
        f"uptime   {format_duration(daemon.uptime_s)}   version {version}   pid {daemon.pid}",
        "",
        style.bold(f"{'API calls':<18}{'count':>9}{'errors':>8}{'p50':>9}{'p95':>9}{'p99':>9}"),
    ]
    lines += [
        f"{truncate(escape_unprintable(call.endpoint), 17):<18}{call.count:>9,}{call.errors:>8,}"
        f"{_format_latencies(call.p50_s, call.p95_s, call.p99_s)}"
        for call in report.calls
    ] or [style.dim("none yet")]
    for name, latency in (("urgent queueing", report.urgent_queue_latency), ("processing", report.embedding)):
        if latency.get("count"):
            latencies = _format_latencies(latency["p50_s"], latency["p95_s"], latency["p99_s"])
            lines.append(f"{name:<18}{latency['count']:>9,.0f}{'':>8}{latencies}")
    errors = ", ".join(
        f"{escape_unprintable(kind)} {number:,}" for kind, number in sorted(report.errors.items()) if number
    )
    return [*lines, "", f"errors   {errors or 'none'}"]


def _format_latencies(*seconds: float) -> str:
    return "".join(f"{_format_latency(each):>9}" for each in seconds)


def _format_latency(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def render_key_hints(width: int) -> str:
    """Render as many key hints as fit into `width`."""
    line = ""
    for key in KEY_HINTS:
        longer = f"{line}  {key}" if line else key
        if len(longer) > width:
            break
        line = longer
    return line


def render_title(state: str | None, folder: str | None, text: str | None) -> str:
    """Render the filter of the list."""
    parts = (
        render.STATE_LABELS.get(state or "", "all"),
        format_path(folder) if folder else "",
        f'"{escape_unprintable(text)}"' if text else "",
    )
    return f"Queue: {', '.join(part for part in parts if part)}"
