"""Renders replies of the daemon as lines of text. Pure."""

from __future__ import annotations

from sploot.formatting import (
    escape_unprintable,
    fold,
    format_count,
    format_duration,
    format_path,
    format_size,
    format_time,
    seconds_since,
    shorten_middle,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these takes longer than `sploot status` takes to run
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from splootd.protocol import (
        ActionRequired,
        AddReply,
        Bottleneck,
        Explanation,
        FolderRow,
        ItemRow,
        Rates,
        ServerStatus,
        Status,
    )

LABEL_CHARS = 9
SERVER_STATE_TEXTS = {
    "unknown": "not answered yet",
    "degraded": "fails on some files",
    "embeddings_fail": "cannot make files searchable now",
    "silent": "does not answer",
    "unreachable": "cannot be reached",
    "rate_limited": "limits the rate of requests",
}
"""The states of the server as people read them; the others are words already."""
STATUS_PATH_CHARS_MAX = 80  # `sploot folders` prints the whole path

UNFINISHED_STATES = ("pending", "uploading", "embedding")
STATE_ORDER = ("ready", "embedding", "uploading", "pending", "failed", "missing", "skipped")
"""The order of the states in a sum, most interesting first."""
STATE_LABELS = {
    "pending": "Waiting",
    "uploading": "Uploading",
    "embedding": "Processing",
    "ready": "Ready",
    "failed": "Failed",
    "missing": "Missing",
    "skipped": "Skipped",
}
"""The names of the states in everything that is printed for people; JSON has the states themselves."""

OUTCOME_TEXTS: Mapping[str, str] = {
    "changed": "changed and queued again",
    "renamed": "renamed",
    "requeued": "found again and requeued",
    "known": "already in the queue or the library",
    "tagged": "known, with new tags",
    "removed": "removed from the library (to upload again: sploot add --force)",
    "not_a_file": "neither a file nor a folder",
    "not_an_image": "not an image or video",
    "loop": "in a loop of symbolic links",
}
"""Outcomes as they are printed after a number of files. Other outcomes are printed as they are."""
ACTION_TEXTS: Mapping[str, str] = {
    "retry": "to be retried",
    "snooze": "postponed",
    "discard": "failed",
    "skip": "skipped",
    "file_missing": "file missing",
}
"""What followed a failed attempt."""


class Style:
    """Colours text with ANSI escape sequences, or leaves it plain."""

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


def render_status(status: Status, style: Style = PLAIN, columns: int | None = None) -> list[str]:
    """Render the status in at most `columns` cells. Counts of zero are left out, except the total."""
    daemon = status.daemon
    paint_state = style.good if daemon.state == "running" else style.warn
    path_chars_max = min(STATUS_PATH_CHARS_MAX, max(1, (columns or STATUS_PATH_CHARS_MAX) - LABEL_CHARS))
    lines = [
        _render_line("daemon", paint_state(daemon.state), format_duration(daemon.uptime_s)),
        _render_server(status.server, style),
    ]
    lines += [_render_folder(folder, style, path_chars_max=path_chars_max) for folder in status.folders]
    lines.append(_render_line("files", render_counts(status, style)))
    if status.daemon.state != "paused" and (status.items.get("pending") or status.items.get("uploading")):
        lines.append(_render_line("rate", render_rates(status.rates)))
    if skipped := status.items.get("skipped"):
        lines.append(_render_line("skipped", f"{format_count(skipped, 'file')}: sploot list --state skipped"))
    lines += [_render_action_required(action, style) for action in status.actions_required]
    return [row for line in lines for row in fold(line, columns, indent=LABEL_CHARS)]


def _render_line(name: str, *parts: str) -> str:
    return f"{name:<{LABEL_CHARS}}{_GAP.join(part for part in parts if part)}"


def _render_server(server: ServerStatus, style: Style) -> str:
    """Render the state of the server. The detail of a local server that cannot be reached says what it does."""
    name = "local server" if server.is_local else escape_unprintable(server.url)
    detail = escape_unprintable(server.detail or "")
    is_explained = server.is_local and server.state == "unreachable" and bool(detail)
    state = "" if is_explained else SERVER_STATE_TEXTS.get(server.state, server.state.replace("_", " "))
    return _render_line(
        "server",
        name,
        (style.good if server.state == "ok" else style.warn)(state) if state else "",
        escape_unprintable(f"through the proxy {server.proxy}") if server.proxy else "",
        f"next attempt at {format_time(server.retry_at)[11:]}" if server.retry_at else "",
        detail,
    )


def _render_folder(folder: FolderRow, style: Style, *, path_chars_max: int | None = None) -> str:
    is_healthy = folder.state in ("watching", "polling", "scanning")
    return _render_line(
        "folder",
        shorten_middle(format_path(folder.path), path_chars_max),
        (style.good if is_healthy else style.bad)(folder.state),
        format_count(folder.items, "file"),
        f"last new {format_duration(seconds_since(folder.last_new_at))} ago" if folder.last_new_at else "",
        escape_unprintable(folder.detail or ""),
    )


def render_counts(status: Status, style: Style = PLAIN) -> str:
    """Render the total as a sum: 12 = 10 ready (1 duplicate) + 2 waiting."""
    notes = {
        "ready": format_count(status.duplicates, "duplicate") if status.duplicates else "",
        "pending": f"{status.delayed:,} of them for later" if status.delayed else "",
    }
    paints = {"ready": style.good, "failed": style.bad}
    parts = []
    for state in STATE_ORDER:
        number = status.items.get(state, 0)
        if number:
            note = f" ({notes[state]})" if notes.get(state) else ""
            parts.append(paints.get(state, str)(f"{number:,} {STATE_LABELS[state].lower()}") + note)
    total = style.bold(f"{status.items['total']:,}")
    return f"{total} = {' + '.join(parts)}" if parts else total


def render_rates(rates: Rates) -> str:
    if not rates.bytes_per_s and not rates.items_per_s:
        return "nothing is being sent right now"
    remaining = f"about {format_duration(rates.eta_s)} left" if rates.eta_s is not None else "time left: estimating"
    return f"{format_size(rates.bytes_per_s)}/s, {rates.items_per_s:.1f} files/s, {remaining}"


def _render_action_required(action: ActionRequired, style: Style) -> str:
    command = style.bold(escape_unprintable(action.command))
    return f"{style.warn('action required:')} {escape_unprintable(action.what)} -> {command}"


def render_folders(rows: Sequence[FolderRow], style: Style = PLAIN) -> list[str]:
    return [_render_folder(row, style)[LABEL_CHARS:] for row in rows] or [
        "No watched folders. To watch one: sploot add FOLDER"
    ]


def render_item(row: ItemRow, style: Style = PLAIN) -> str:
    """Render one item on one line."""
    paints = {"ready": style.good, "failed": style.bad, "missing": style.dim, "skipped": style.dim}
    state = paints.get(row.state, str)(f"{STATE_LABELS.get(row.state, row.state):<10}")
    message = f"{_GAP}{style.dim(escape_unprintable(row.error_message))}" if row.error_message else ""
    return f"{row.id:>7}  {state}  {format_size(row.size):>8}  {format_path(row.path)}{message}"


def render_failed(rows: Iterable[ItemRow], style: Style = PLAIN) -> Iterator[str]:
    """Render failed files, each with its error and its remedy."""
    for row in rows:
        attempts = f" ({format_count(row.attempts, 'attempt')})" if row.attempts > 1 else ""
        yield f"{row.id:>7}  {format_path(row.path)}"
        yield f"{'':9}{style.bad(escape_unprintable(row.error_message or 'unknown error'))}{style.dim(attempts)}"
        if row.remedy:
            yield f"{'':9}{escape_unprintable(row.remedy)}"


def render_explanation(explanation: Explanation, style: Style = PLAIN) -> list[str]:
    """Render the state of one file, its attempts and what happens next."""
    row = explanation.item
    version = f", the newest of {explanation.versions} versions" if explanation.versions > 1 else ""
    lines = [
        style.bold(format_path(row.path)),
        _render_line("item", f"{row.id}{version}", format_size(row.size), f"priority {row.priority}"),
        _render_line(
            "state",
            STATE_LABELS.get(row.state, row.state) + (" (duplicate)" if row.duplicate else ""),
            escape_unprintable(row.error_message or ""),
        ),
        _render_line("added", format_time(row.added_at), f"changed {format_time(row.updated_at)}"),
    ]
    if row.folder:
        lines.append(_render_line("folder", format_path(row.folder)))
    if row.tags:
        lines.append(_render_line("tags", ", ".join(escape_unprintable(tag) for tag in row.tags)))
    if row.sha256:
        lines.append(_render_line("sha256", row.sha256))
    if row.asset_id:
        lines.append(_render_line("asset", escape_unprintable(row.asset_id)))
    lines += [
        _render_line(
            "attempt",
            format_time(each.at),
            ACTION_TEXTS.get(each.action, each.action),
            escape_unprintable(each.error_message),
        )
        for each in explanation.attempts
    ]
    lines.append(_render_line("next", escape_unprintable(explanation.next)))
    return lines


def render_bottleneck(bottleneck: Bottleneck, style: Style = PLAIN) -> list[str]:
    """Render the cause of the bottleneck, the advice and the measurements behind them."""
    lines = [
        _render_line("cause", style.bold(escape_unprintable(bottleneck.cause))),
        _render_line("advice", escape_unprintable(bottleneck.suggestion)),
    ]
    if bottleneck.numbers:
        shown = (f"{name} {number:,.3f}".rstrip("0").rstrip(".") for name, number in bottleneck.numbers.items())
        lines.append(_render_line("numbers", style.dim(", ".join(shown))))
    return lines


def render_added(reply: AddReply, watched: Sequence[str] = (), *, is_dry_run: bool = False) -> str:
    """Render the result of one `sploot add` as sentences; `watched` are the folders that are now watched."""
    counts = {outcome: number for outcome, number in reply.counts.items() if number}
    if set(counts) == {"known"}:
        known = "the file is" if counts["known"] == 1 else f"all {counts['known']:,} files are"
        sentences = [f"Nothing new: {known} already in the queue or the library."]
    else:
        queued = counts.pop("queued", 0)
        files = format_count(queued, "file")
        sentences = [f"Dry run: {files} would be added." if is_dry_run else f"Added {files}."] if queued else []
        if counts:
            others = ", ".join(
                f"{number:,} {OUTCOME_TEXTS.get(outcome, outcome)}" for outcome, number in counts.items()
            )
            sentences.append(f"{'Others' if queued else 'Files'}: {others}.")
    if is_dry_run:
        return " ".join([*sentences, "Nothing was sent."])
    if len(watched) == 1:
        sentences.append(f"Watching {format_path(watched[0])} for new ones.")
    elif watched:
        sentences.append(f"Watching {len(watched):,} folders for new ones.")
    if reply.scanning:
        sentences.append("Scanning continues in the background; check with: sploot status")
    return " ".join(sentences) or "Nothing was added."
