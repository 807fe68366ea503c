"""Health checks of `sploot doctor` that must run inside the daemon, with its permissions and its network access."""

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

from splootd import __version__
from splootd.control.context import Context
from splootd.errors import RateLimited, SplootError, StoreDamaged, Unauthenticated
from splootd.protocol import Finding, Findings, RunDoctor, SelfTest
from splootd.remote.self_test import run_self_test
from splootd.remote.tls_probe import probe
from splootd.store import recovery
from splootd.store.maintenance import check_integrity, seconds_since_integrity_check
from splootd.watch.folder_problem import find_problem
from splootd.watch.inotify_info import INOTIFY_LIMITS_DIR, inotify_fds, watched_inodes
from splootd.watch.mounts import is_network_filesystem

CHECK_TIMEOUT_S = 60.0  # for each check except the integrity check of the database
INTEGRITY_CHECK_TIMEOUT_S = 600.0
INLINE_INTEGRITY_CHECK_BYTES_MAX = 256 << 10  # a database of this size takes a few milliseconds
SYNC_CLOCK_COMMAND = "sudo sntp -sS time.apple.com" if sys.platform == "darwin" else "timedatectl set-ntp true"
CLOCK_SKEW_MAX_S = 60.0
CERTIFICATE_VALIDITY_MIN_S = 14 * 86_400.0
FREE_SPACE_MIN_BYTES = 100_000_000
FREE_SPACE_WARN_BYTES = 1_000_000_000
WATCHES_SHARE_MAX = 0.8
TESSERACT_SCRIPTS = {  # by the names of tesseract's models
    "rus": "Cyrillic",
    "ara": "Arabic",
    "hin": "Hindi",
    "kor": "Korean",
    "ell": "Greek",
    "tha": "Thai",
    "heb": "Hebrew",
}
# In earlier versions two processes that checkpoint can corrupt a database: https://sqlite.org/wal.html
WAL_RESET_FIXED_VERSION = (3, 51, 3)

Check = Callable[[Context], Awaitable[Sequence[Finding]]]


async def run_doctor(context: Context, request: RunDoctor | SelfTest) -> Findings:
    """Run all read-only checks, each independent of the others, or the self-test, which uploads a tiny image."""
    findings: list[Finding] = []
    for name, check in (
        _select_checks(request) if isinstance(request, RunDoctor) else {"self-test": _run_self_test}
    ).items():
        findings += await _run_check(name, check, context)
    return Findings(tuple(findings))


def _select_checks(request: RunDoctor) -> dict[str, Check]:
    return {
        "server": _check_server,
        "connection": _check_connection,
        "scripts": _check_scripts,
        "folders": _check_folders,
        "watches": _check_inotify_watches,
        "disk": _check_disk_space,
        "database": _check_database_integrity if request.thorough else _check_database,
        "versions": _check_versions,
    }


async def _run_check(name: str, check: Check, context: Context) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(
            INTEGRITY_CHECK_TIMEOUT_S if check is _check_database_integrity else CHECK_TIMEOUT_S
        ):
            return await check(context)
    except Unauthenticated as error:
        return [Finding("token", "error", error.title, "sploot login")]
    except RateLimited as error:
        return [Finding(name, "warning", error.title, "sploot status")]
    except SplootError as error:
        return [Finding(name, "error", "; ".join(filter(None, (error.title, error.hint))), "sploot logs")]
    except TimeoutError:
        return [Finding(name, "error", "the check timed out", "sploot logs")]


async def _check_server(context: Context) -> Sequence[Finding]:
    """Check reachability, token and limits. A local server that cannot start has already reported the reason."""
    actions = [Finding("library", "error", action.what, action.command) for action in context.extra_actions_required()]
    if actions and context.config.is_local:
        return actions
    await context.wait_for_local_server()
    limits = await context.client.limits()
    types = ", ".join(sorted(each.partition("/")[2] for each in limits.types))
    server = "the local server" if context.config.is_local else context.config.server
    findings = [
        *actions,
        Finding("server", "ok", f"{server} is reachable"),
        Finding("limits", "ok", f"accepts {types} up to {limits.bytes_max / 1e6:.1f} MB"),
    ]
    if not context.config.is_local:
        findings.append(Finding("token", "ok", "the server accepts the token"))
    return findings


async def _check_connection(context: Context) -> Sequence[Finding]:
    """Check TLS and the clock skew. A local server needs neither, and a proxy may be the only way to the server."""
    if context.config.is_local:
        return []
    if context.client.proxy is not None:
        return [Finding("proxy", "ok", f"requests go through the proxy {context.client.proxy}")]
    async with context.client.control_slot():
        result = await probe(context.config.server, context.clock)
    findings = []
    if result.tls_version is None:
        message = "the connection is not encrypted"
        findings.append(Finding("tls", "warning", message, "sploot config set server https://..."))
    else:
        left_d = (result.certificate_expires_in_s or 0) / 86_400
        expires_soon = left_d * 86_400 < CERTIFICATE_VALIDITY_MIN_S
        message = f"{result.tls_version}, the certificate expires in {left_d:.0f} days"
        findings.append(Finding("tls", "warning" if expires_soon else "ok", message))
    if result.clock_skew_s is not None:
        is_off = abs(result.clock_skew_s) > CLOCK_SKEW_MAX_S
        message = f"the clock of this machine differs from the server's by {result.clock_skew_s:+.0f} s"
        findings.append(Finding("clock", "error" if is_off else "ok", message, SYNC_CLOCK_COMMAND if is_off else None))
    return findings


async def _check_scripts(context: Context) -> Sequence[Finding]:
    """Name the scripts that the local server cannot read in images; a remote server's are not known."""
    if not context.config.is_local:
        return []
    missing = await asyncio.to_thread(_list_missing_scripts)
    if not missing:
        return [Finding("scripts", "ok", "the local server reads text in all of its scripts")]
    names = ", ".join(TESSERACT_SCRIPTS[each] for each in missing)
    message = (
        f"the local server does not read text in {names}: install tesseract with the languages {', '.join(missing)}"
    )
    return [Finding("scripts", "ok", message)]


def _list_missing_scripts() -> Sequence[str]:
    program = shutil.which("tesseract")
    if program is None:
        return list(TESSERACT_SCRIPTS)
    result = subprocess.run([program, "--list-langs"], capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    return [each for each in TESSERACT_SCRIPTS if each not in result.stdout.split()]


async def _check_folders(context: Context) -> Sequence[Finding]:
    findings = []
    for folder in await context.folder_store.folders():
        state, detail = context.watcher.health(folder.id)
        finding = await asyncio.to_thread(_check_folder_readable, folder.path)
        name = os.fsdecode(folder.path)
        if finding is not None:
            findings.append(finding)
        elif state == "polling":
            findings.append(Finding("folder", "warning", f"{name} is polled instead of watched: {detail}"))
        else:
            findings.append(Finding("folder", "ok", f"{name} is readable; {state}"))
    return findings or [Finding("folder", "warning", "no folder is watched", "sploot add FOLDER")]


def _check_folder_readable(folder: bytes) -> Finding | None:
    """Return a finding when the daemon cannot read `folder`, else None."""
    name = os.fsdecode(folder)
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        if sys.platform == "darwin" and error.errno == errno.EPERM:
            message = (
                f"macOS denies the daemon access to {name}: allow {sys.executable} in System Settings, Privacy &"
                " Security, Files and Folders (or Full Disk Access)"
            )
            settings = "x-apple.systempreferences:com.apple.preference.security?Privacy_FilesAndFolders"
            return Finding("folder", "error", message, f"open '{settings}'")
        problem = find_problem(folder, error)
        return Finding("folder", "error", "; ".join(filter(None, (problem.detail, problem.advice))), problem.command)
    return None


async def _check_inotify_watches(context: Context) -> Sequence[Finding]:
    """Compare the daemon's inotify watches with the kernel's limit per user, which other programs share.

    Exceeding the limit loses events silently: `inotify_add_watch` fails with ENOSPC for the remaining folders only.
    """
    try:
        allowed = int((INOTIFY_LIMITS_DIR / "max_user_watches").read_text())
    except (OSError, ValueError):
        return []
    used = sum(watched_inodes(fd).total() for fd in inotify_fds())
    message = f"the daemon uses {used:,} of {allowed:,} inotify watches per user"
    if used > WATCHES_SHARE_MAX * allowed:
        return [Finding("watches", "error", message, f"sudo sysctl fs.inotify.max_user_watches={2 * allowed}")]
    return [Finding("watches", "ok", message)]


async def _check_disk_space(context: Context) -> Sequence[Finding]:
    state_dir = context.database.path.parent
    free = (await asyncio.to_thread(shutil.disk_usage, state_dir)).free
    message = f"{free / 1e9:.1f} GB free on the disk of the queue ({state_dir})"
    state = "error" if free < FREE_SPACE_MIN_BYTES else "warning" if free < FREE_SPACE_WARN_BYTES else "ok"
    findings = [Finding("disk", state, message, None if state == "ok" else f"df -h {state_dir}")]
    if is_network_filesystem(os.fsencode(state_dir)):
        # SQLite's WAL mode needs shared memory between its connections, which a network file system does not provide.
        findings.append(Finding("disk", "error", f"{state_dir} is on a network file system; SQLite needs a local disk"))
    return findings


async def _check_database(context: Context) -> Sequence[Finding]:
    """Report the last daily integrity check. Only a small database is checked here; a large one takes seconds."""
    if (await asyncio.to_thread(context.database.path.stat)).st_size <= INLINE_INTEGRITY_CHECK_BYTES_MAX:
        return await _check_database_integrity(context)
    ago_s = await seconds_since_integrity_check(context.database, now=context.clock.now())
    if ago_s is None:
        message = "the integrity of the database has not been checked yet; it is checked daily and after a crash"
        return [Finding("database", "warning", message, "sploot doctor --thorough")]
    return [Finding("database", "ok", f"the database passed its integrity check {_format_ago(ago_s)}")]


async def _check_database_integrity(context: Context) -> Sequence[Finding]:
    try:
        await check_integrity(context.database, now=context.clock.now())
    except StoreDamaged as error:
        await asyncio.to_thread(recovery.mark_suspect, context.database.path, error.title)
        message = f"{error.title} The next start sets it aside and restores the newest intact backup"
        return [Finding("database", "error", message, "sploot daemon restart")]
    return [Finding("database", "ok", "the database passed its integrity check")]


def _format_ago(seconds: float) -> str:
    """Format an age in its largest unit."""
    for unit, unit_s in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if number := int(seconds // unit_s):
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "just now"


async def _check_versions(context: Context) -> Sequence[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    findings = [Finding("versions", "ok", f"splootd {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")]
    if sqlite3.sqlite_version_info < WAL_RESET_FIXED_VERSION:
        message = "do not open queue.db in other tools while the daemon runs (a bug of this SQLite version)"
        findings.append(Finding("sqlite", "ok", message))
    return findings


async def _run_self_test(context: Context) -> Sequence[Finding]:
    """Upload a random image, look it up, and delete it permanently."""
    if context.config.is_local and context.extra_actions_required():
        return []
    if not await run_self_test(context.client):
        message = "the library reported a wrong state for an image that was uploaded and deleted"
        return [Finding("self-test", "error", message, "sploot logs")]
    return [Finding("self-test", "ok", "an image was uploaded, found and deleted")]
