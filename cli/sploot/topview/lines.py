"""What the screen shows, as lines of text. Pure: replies of the daemon in, lines out.

Colours are the terminal's own, and nothing is said by colour alone.
"""

from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len, set_cell_size

from sploot import render
from sploot.render import Style
from sploot.text import count, moment, place, safe, size, span
from sploot.topview.speeds import Transfer
from splootd.protocol import ItemRow, Report, Status

BAR_WIDTH = 12
SUM_LINES_MAX = 3
KEYS = (
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
    "o folder",
    "escape all",
)
HELP = (
    "up down, pgup pgdn    move through the queue, newest files first",
    "home end              to the newest, to the oldest",
    "enter                 why: the whole story of the file",
    "/                     find files whose name has these words in it",
    "s  S                  the next state, the one before: pending, uploading, ...",
    "o                     the next watched folder",
    "escape                show everything again",
    "r                     retry: a file that failed goes back, first in line",
    "b                     bump: to the front of the queue",
    "f                     forget: out of the queue, never off disk or server",
    "p                     pause sending, or go on",
    "m                     metrics, refreshed each second (also ctrl+shift+m)",
    "q                     quit; the daemon goes on",
)


def fit(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end left out where it is longer."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…" * (width > 0)


def fit_place(path: str, width: int) -> str:
    """A path in at most `width` cells: folders are left out before the name is."""
    shown = place(path)
    if cell_len(shown) <= width:
        return shown
    name = shown.rpartition("/")[2]
    room = width - cell_len(name) - 2
    if room < 0:
        return fit(name, width)
    kept = shown[: -len(name) - 1][-room:] if room else ""
    while cell_len(kept) > room:
        kept = kept[1:]
    return f"…{kept}/{name}"


def head(now: Status, style: Style, width: int) -> list[str]:
    """How the daemon and its server are, everything that there is as a sum, how fast it goes, what needs the user."""
    daemon, server = now.daemon, now.server
    name = "embedded library" if server.embedded else safe(server.url)
    parts = [
        ("sploot", style.bold),
        (daemon.state, style.good if daemon.state == "running" else style.warn),
        (f"{name} {server.state.replace('_', ' ')}", style.good if server.state == "ok" else style.warn),
        (f"breaker {server.breaker.replace('_', ' ')}", str if server.breaker == "closed" else style.warn),
        (f"news by {server.push}", str),
        (size(daemon.rss_bytes), str),
    ]
    lines = [_joined(parts, width), *_sum(now, style, width), _pace(now, style, width)]
    if now.needs_you:
        need, more = now.needs_you[0], len(now.needs_you) - 1
        told = f"needs you: {safe(need.what)} -> {safe(need.command)}" + (
            f"  ({more} more: sploot status)" * bool(more)
        )
        lines.append(style.warn(fit(told, width)))
    return lines


def _joined(parts: Iterable[tuple[str, Callable[[str], str]]], width: int) -> str:
    """As many of the parts as there is room for."""
    line, left = "", width
    for text, paint in parts:
        gap = "   " if line else ""
        if cell_len(text) + len(gap) > left:
            break
        line += gap + paint(text)
        left -= cell_len(text) + len(gap)
    return line


def _sum(now: Status, style: Style, width: int) -> list[str]:
    """The total as a sum, broken before a plus where it is too long."""
    lines: list[str] = []
    plain = render.counts(now).split(" + ")
    painted = render.counts(now, style).split(" + ")
    room = 0
    for bare, term in zip(plain, painted, strict=True):
        if lines and cell_len(bare) + 3 <= room:
            lines[-1] += f" + {term}"
            room -= cell_len(bare) + 3
        else:
            lines.append(f"  + {term}" if lines else term)
            room = width - cell_len(bare) - (4 if len(lines) > 1 else 0)
    return lines[:SUM_LINES_MAX]


def _pace(now: Status, style: Style, width: int) -> str:
    server = now.server
    if server.detail:
        again = f"; tried again at {moment(server.retry_at)[11:]}" if server.retry_at else ""
        return style.warn(fit(f"{safe(server.detail)}{again}", width))
    if now.daemon.state == "paused":
        waiting = count(now.items.get("pending", 0), "file")
        return style.warn(fit(f"sending is paused, {waiting} waiting; to go on: p", width))
    if now.items.get("pending") or now.items.get("uploading"):
        return fit(render.rates(now.rates), width)
    if now.items.get("embedding"):
        return fit(f"everything is sent; {count(now.items['embedding'], 'file')} still to become searchable", width)
    return style.dim(fit("nothing waits to be sent", width))


def transfers(moving: Sequence[Transfer], style: Style, width: int, height: int) -> list[str]:
    """The uploads under way, one a line; the last line says how many more there are."""
    shown = moving if len(moving) <= height else moving[: height - 1]
    lines = [_transfer(each, width) for each in shown] or [style.dim("nothing is being sent")]
    if len(shown) < len(moving):
        lines.append(style.dim(f"and {len(moving) - len(shown)} more"))
    return lines


def _transfer(of: Transfer, width: int) -> str:
    done = min(1.0, of.sent / of.size) if of.size else 1.0
    filled = int(done * BAR_WIDTH)
    speed = f"{size(of.bytes_per_s)}/s" if of.bytes_per_s is not None else ""
    bar = f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"
    start = f"{bar} {done:4.0%}  {size(of.sent):>7} of {size(of.size):<7}  {speed:>9}  "
    return start + fit_place(of.path, max(0, width - len(start)))


def rule(title: str, right: str, style: Style, width: int) -> str:
    """A line across the screen, with a title on its left and a word on its right."""
    title, end = fit(title, max(0, width - len(right) - 4)), f" {right}" if right else ""
    dashes = "─" * max(0, width - cell_len(title) - 1 - len(end))
    return f"{style.bold(title)} {style.dim(dashes)}{end}"


def item(row: ItemRow, width: int) -> tuple[str, str, str]:
    """One row of the queue in three parts: state and size, the file, why it is where it is. Together `width` cells."""
    mark = "!" if row.priority == "urgent" and row.state == "pending" else " "
    start = f"{mark}{row.state:<9}  {size(row.size):>7}  "
    left = max(0, width - len(start))
    why = _why(row)
    room = left - 3 - min(cell_len(why), left // 2) if why else left
    file = fit_place(row.path, max(0, room))
    rest = max(0, left - cell_len(file))
    why = fit(f"   {why}" if why else "", rest)
    return start[:width], file, why + " " * (rest - cell_len(why))


def _why(row: ItemRow) -> str:
    """The reason without the name that many begin with: that stands beside it."""
    if not row.reason:
        return "a duplicate" if row.duplicate else ""
    reason = row.reason.removeprefix(row.path.rpartition("/")[2]).lstrip(": ")
    return safe(" ".join(reason.split()))


def metrics(now: Status, report: Report, style: Style) -> list[str]:
    """What is measured: memory, rates, calls, waits, errors."""
    memory = report.memory
    five = "average of 5 min"
    lines = [
        f"memory   {size(memory.now_bytes)} now   {size(memory.peak_bytes)} peak   {size(memory.average_bytes)} {five}",
        f"rates    {render.rates(now.rates)}",
        f"up       {span(now.daemon.uptime_s)}   version {safe(now.daemon.version)}   pid {now.daemon.pid}",
        "",
        style.bold(f"{'calls':<18}{'count':>9}{'errors':>8}{'p50':>9}{'p95':>9}{'p99':>9}"),
    ]
    lines += [
        f"{fit(safe(call.call), 17):<18}{call.count:>9,}{call.errors:>8,}{_times(call.p50_s, call.p95_s, call.p99_s)}"
        for call in report.calls
    ] or [style.dim("none yet")]
    for name, of in (("urgent waits", report.urgent_wait), ("made searchable", report.embedding)):
        if of.get("count"):
            lines.append(f"{name:<18}{of['count']:>9,.0f}{'':>8}{_times(of['p50_s'], of['p95_s'], of['p99_s'])}")
    errors = ", ".join(f"{safe(kind)} {number:,}" for kind, number in sorted(report.errors.items()) if number)
    return [*lines, "", f"errors   {errors or 'none'}"]


def _times(*seconds: float) -> str:
    return "".join(f"{_time(each):>9}" for each in seconds)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def keys(width: int) -> str:
    """As many keys with what they do as there is room for."""
    line = ""
    for key in KEYS:
        longer = f"{line}  {key}" if line else key
        if len(longer) > width:
            break
        line = longer
    return line


def title(state: str | None, folder: str | None, text: str | None) -> str:
    """Which part of the queue is shown."""
    parts = (state or "all", place(folder) if folder else "", f'"{safe(text)}"' if text else "")
    return f"Queue: {', '.join(part for part in parts if part)}"
