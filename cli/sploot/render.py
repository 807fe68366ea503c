"""What the command line shows, as text. Pure: replies of the daemon in, lines out."""

from __future__ import annotations

from sploot.text import count, moment, place, safe, seconds_since, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:  # the commands that are run most have no time to import these
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from splootd.protocol import Added, FolderRow, Hit, ItemRow, Need, Rates, ServerStatus, Slow, Status, Story

UNENDED = ("pending", "uploading", "embedding")
STATES = ("ready", "embedding", "uploading", "pending", "dead", "gone", "skipped")
"""In the order in which people care."""

OUTCOMES: Mapping[str, str] = {
    "queued": "queued",
    "changed": "queued again, because they changed",
    "renamed": "renamed",
    "revived": "back and queued again",
    "known": "known already",
    "not_a_file": "neither file nor folder",
    "not_an_image": "no image",
    "loop": "in a circle of links",
}
"""What became of files, in words that follow a number of them. Other outcomes are shown as they are."""


class Style:
    """Colours, or none of them."""

    def __init__(self, *, is_on: bool = False) -> None:
        self.is_on = is_on

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.is_on else text

    def good(self, text: str) -> str:
        return self._paint("32", text)

    def warn(self, text: str) -> str:
        return self._paint("33", text)

    def bad(self, text: str) -> str:
        return self._paint("31", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def bold(self, text: str) -> str:
        return self._paint("1", text)


PLAIN = Style()
_GAP = "   "


def status(now: Status, style: Style = PLAIN) -> list[str]:
    """Everything at a glance. What is zero is left out, except the total."""
    daemon = now.daemon
    is_running = daemon.state == "running"
    lines = [
        _row(
            "daemon",
            (style.good if is_running else style.warn)(daemon.state),
            span(daemon.uptime_s),
            f"version {daemon.version}",
            f"pid {daemon.pid}",
            size(daemon.rss_bytes),
        ),
        _server(now.server, style),
    ]
    lines += [_folder(folder, style) for folder in now.folders]
    lines.append(_row("items", counts(now, style)))
    if now.daemon.state != "paused" and (now.items.get("pending") or now.items.get("uploading")):
        lines.append(_row("rate", rates(now.rates)))
    lines += [_need(need, style) for need in now.needs_you]
    return lines


def _row(name: str, *parts: str) -> str:
    return f"{name:<9}{_GAP.join(part for part in parts if part)}"


def _server(server: ServerStatus, style: Style) -> str:
    name = "embedded library" if server.embedded else safe(server.url)
    state = (style.good if server.state == "ok" else style.warn)(server.state.replace("_", " "))
    breaker = f"breaker {server.breaker.replace('_', ' ')}"
    again = f"tried again at {moment(server.retry_at)[11:]}" if server.retry_at else ""
    return _row("server", name, state, breaker, f"news by {server.push}", again, safe(server.detail or ""))


def _folder(folder: FolderRow, style: Style) -> str:
    good = folder.state in ("watching", "polling", "scanning")
    return _row(
        "folder",
        place(folder.path),
        (style.good if good else style.bad)(folder.state),
        count(folder.items, "file"),
        f"last new {span(seconds_since(folder.last_new_at))} ago" if folder.last_new_at else "",
        safe(folder.detail or ""),
    )


def counts(now: Status, style: Style = PLAIN) -> str:
    """The total as the sum that it is: 12 = 10 ready (1 duplicate) + 2 pending."""
    notes = {
        "ready": count(now.ready_of_which_duplicates, "duplicate") if now.ready_of_which_duplicates else "",
        "pending": f"{now.pending_of_which_delayed:,} delayed" if now.pending_of_which_delayed else "",
    }
    paints = {"ready": style.good, "dead": style.bad}
    parts = []
    for state in STATES:
        number = now.items.get(state, 0)
        if number:
            note = f" ({notes[state]})" if notes.get(state) else ""
            parts.append(paints.get(state, str)(f"{number:,} {state}") + note)
    total = style.bold(f"{now.items['total']:,}")
    return f"{total} = {' + '.join(parts)}" if parts else total


def rates(of: Rates) -> str:
    left = f"about {span(of.eta_s)} left" if of.eta_s is not None else "time left: estimating"
    return f"{size(of.bytes_per_s)}/s, {of.items_per_s:.1f} files/s, {left}"


def _need(need: Need, style: Style) -> str:
    return f"{style.warn('needs you:')} {safe(need.what)} -> {style.bold(safe(need.command))}"


def folders(rows: Sequence[FolderRow], style: Style = PLAIN) -> list[str]:
    return [_folder(row, style)[9:] for row in rows] or ["No folder is watched. To watch one: sploot add FOLDER"]


def item(row: ItemRow, style: Style = PLAIN) -> str:
    """One item on one line, its columns parted by tabs when nobody looks."""
    paints = {"ready": style.good, "dead": style.bad, "gone": style.dim, "skipped": style.dim}
    state = paints.get(row.state, str)(f"{row.state:<9}")
    reason = f"{_GAP}{style.dim(safe(row.reason))}" if row.reason else ""
    return f"{row.id:>7}  {state}  {size(row.size):>8}  {place(row.path)}{reason}"


def failed(rows: Iterable[ItemRow], style: Style = PLAIN) -> Iterator[str]:
    """Dead letters: which, and why."""
    for row in rows:
        tries = f" ({count(row.attempts, 'try', 'tries')})" if row.attempts > 1 else ""
        yield f"{row.id:>7}  {place(row.path)}"
        yield f"{'':9}{style.bad(safe(row.reason or 'no reason is known'))}{style.dim(tries)}"


def story(of: Story, style: Style = PLAIN) -> list[str]:
    """The whole story of one file."""
    row = of.item
    version = f", the newest of {of.versions} versions" if of.versions > 1 else ""
    lines = [
        style.bold(place(row.path)),
        _row("item", f"{row.id}{version}", size(row.size), f"priority {row.priority}", f"shard {row.shard}"),
        _row("state", row.state + (" (a duplicate)" if row.duplicate else ""), safe(row.reason or "")),
        _row("added", moment(row.added_at), f"changed {moment(row.updated_at)}"),
    ]
    if row.folder:
        lines.append(_row("folder", place(row.folder)))
    if row.tags:
        lines.append(_row("tags", ", ".join(safe(tag) for tag in row.tags)))
    if row.sha256:
        lines.append(_row("sha256", row.sha256))
    if row.asset_id:
        lines.append(_row("asset", safe(row.asset_id)))
    lines += [_row("tried", moment(each.at), each.verdict, safe(each.reason)) for each in of.attempts]
    lines.append(_row("next", safe(of.next)))
    return lines


def slow(of: Slow, style: Style = PLAIN) -> list[str]:
    """What holds everything up, what helps, and the numbers that led there."""
    lines = [_row("because", style.bold(safe(of.because))), _row("helps", safe(of.helps))]
    if of.numbers:
        shown = (f"{name} {number:,.3f}".rstrip("0").rstrip(".") for name, number in of.numbers.items())
        lines.append(_row("numbers", style.dim(", ".join(shown))))
    return lines


def hit(nth: int, row: Hit, style: Style = PLAIN) -> list[str]:
    """One match: its number, how well it matches, where it is, what is written in it."""
    score = "" if row.score is None else f"{row.score:.3f}"
    where = place(row.path) if row.path else f"no file here: sploot search --open {nth}"
    lines = [f"{nth:>3}  {score:<7}{(style.bold if row.path else style.dim)(where)}"]
    if row.url:
        lines.append(f"{'':12}{safe(row.url)}")
    if row.text:
        words = " ".join(safe(row.text.replace("\n", " ")).split())
        lines.append(f"{'':12}{style.dim(words[:200])}")
    return lines


def added(reply: Added, *, is_dry_run: bool = False) -> str:
    """What one call of `add` has done, in a sentence."""
    parts = [f"{number:,} {OUTCOMES.get(outcome, outcome)}" for outcome, number in reply.counts.items() if number]
    start = "Would be" if is_dry_run else "Files"
    lines = [f"{start}: {', '.join(parts)}."] if parts else []
    if reply.walking:
        lines.append("Folders are still being looked through: sploot status")
    return " ".join(lines) or "Nothing was queued."
