"""What `sploot doctor` asks inside the daemon: it is here that folders must be readable and the server reachable."""

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import sqlite3
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable, Sequence

from splootd import __version__
from splootd.control.parts import Parts
from splootd.core.item import Version
from splootd.errors import RateLimited, SignedOut, SplootError, StoreDamaged
from splootd.protocol import Examine, Finding, Findings, SelfTest
from splootd.remote.inspection import inspect
from splootd.store import rescue
from splootd.store.upkeep import read_through, read_through_s_ago
from splootd.work.files import Content
from splootd.work.kernel import LIMITS, is_remote, watched_inodes

CHECK_S = 60.0  # for each check, beside the thorough one of the database
READ_THROUGH_S = 600.0
READ_AT_ONCE_BYTES_MAX = 256 << 10  # it takes a few milliseconds
LIBRARY_S = 30.0
SET_CLOCK = "sudo sntp -sS time.apple.com" if sys.platform == "darwin" else "timedatectl set-ntp true"
SKEW_MAX_S = 60.0
CERTIFICATE_LEFT_MIN_S = 14 * 86_400.0
ROOM_MIN_BYTES = 100_000_000
ROOM_GOOD_BYTES = 1_000_000_000
WATCHES_SHARE_MAX = 0.8
WAL_RESET_MENDED = (3, 51, 3)  # before, two programs that checkpoint can damage a database; sqlite.org/wal.html

Check = Callable[[Parts], Awaitable[Sequence[Finding]]]


async def examine(parts: Parts, request: Examine | SelfTest) -> Findings:
    """Every check that only looks, whatever the others say; or the one that changes something for a moment."""
    findings: list[Finding] = []
    for name, check in (_looks(request) if isinstance(request, Examine) else {"self-test": _self_test}).items():
        findings += await _checked(name, check, parts)
    return Findings(tuple(findings))


def _looks(request: Examine) -> dict[str, Check]:
    return {
        "server": _server,
        "line": _line,
        "folders": _folders,
        "watches": _watches,
        "room": _room,
        "database": _database_now if request.thorough else _database,
        "versions": _versions,
    }


async def _checked(name: str, check: Check, parts: Parts) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(READ_THROUGH_S if check is _database_now else CHECK_S):
            return await check(parts)
    except SignedOut as error:
        return [Finding("token", "bad", error.title, "sploot login")]
    except RateLimited as error:
        return [Finding(name, "note", error.title, "sploot status")]
    except SplootError as error:
        return [Finding(name, "bad", "; ".join(filter(None, (error.title, error.hint))), "sploot logs")]
    except TimeoutError:
        return [Finding(name, "bad", "no answer in time", "sploot logs")]


async def _server(parts: Parts) -> Sequence[Finding]:
    """Reach, the token, the limits. What the library at home lacks is known already."""
    needs = [Finding("library", "bad", need.what, need.command) for need in parts.more_needs()]
    if needs and parts.config.is_local:
        return needs
    await _awake(parts)
    limits = await parts.server.limits()
    kinds = ", ".join(sorted(each.partition("/")[2] for each in limits.types))
    where = "the library on this machine" if parts.config.is_local else parts.config.server
    findings = [
        *needs,
        Finding("server", "ok", f"{where} answers"),
        Finding("limits", "ok", f"it takes {kinds} up to {limits.bytes_max / 1e6:.1f} MB"),
    ]
    if not parts.config.is_local:
        findings.append(Finding("token", "ok", "it knows who asks"))
    return findings


async def _awake(parts: Parts) -> None:
    """Wait for the library of this machine, which may only just have been started. Of others, nothing is expected."""
    if parts.config.is_local:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIBRARY_S):
                await parts.gate.questions_allowed()


async def _line(parts: Parts) -> Sequence[Finding]:
    """TLS and the clocks; a library on this machine shares ours."""
    if parts.config.is_local:
        return []
    line = await inspect(parts.config.server, parts.clock)
    findings = []
    if line.tls is None:
        findings.append(Finding("tls", "note", "the line is not encrypted", "sploot config set server https://..."))
    else:
        left_d = (line.certificate_left_s or 0) / 86_400
        is_near = left_d * 86_400 < CERTIFICATE_LEFT_MIN_S
        says = f"{line.tls}, the certificate is good for {left_d:.0f} days"
        findings.append(Finding("tls", "note" if is_near else "ok", says))
    if line.skew_s is not None:
        is_off = abs(line.skew_s) > SKEW_MAX_S
        says = f"this machine's clock is {line.skew_s:+.0f} s from the server's"
        findings.append(Finding("clock", "bad" if is_off else "ok", says, SET_CLOCK if is_off else None))
    return findings


async def _folders(parts: Parts) -> Sequence[Finding]:
    findings = []
    for folder in await parts.arrivals.folders():
        state, detail = parts.watcher.health(folder.id)
        refusal = await asyncio.to_thread(_refusal, folder.path)
        name = os.fsdecode(folder.path)
        if refusal is not None:
            findings.append(refusal)
        elif state == "polling":
            findings.append(Finding("folder", "note", f"{name} is looked at from time to time: {detail}"))
        else:
            findings.append(Finding("folder", "ok", f"{name} can be read; {state}"))
    return findings or [Finding("folder", "note", "no folder is watched", "sploot add FOLDER")]


def _refusal(folder: bytes) -> Finding | None:
    """Why the daemon cannot read `folder`; None when it can."""
    name = os.fsdecode(folder)
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except FileNotFoundError:
        return Finding("folder", "bad", f"{name} is not there", f"sploot folders remove {name}")
    except OSError as error:
        if sys.platform == "darwin" and error.errno == errno.EPERM:
            says = (
                f"macOS does not let the daemon read {name}: allow {sys.executable} in System Settings, Privacy &"
                " Security, Files and Folders (or Full Disk Access)"
            )
            settings = "x-apple.systempreferences:com.apple.preference.security?Privacy_FilesAndFolders"
            return Finding("folder", "bad", says, f"open '{settings}'")
        return Finding("folder", "bad", f"{name} cannot be read: {error.strerror}", f"chmod u+rx {name}")
    return None


async def _watches(parts: Parts) -> Sequence[Finding]:
    """How much of what the kernel allows one user to watch is in use, here alone; other programs watch too."""
    inodes = watched_inodes()
    try:
        allowed = int((LIMITS / "max_user_watches").read_text())
    except (OSError, ValueError):
        return []
    if inodes is None:
        return []
    says = f"{len(inodes):,} of {allowed:,} watches that a user may have are in use here"
    if len(inodes) > WATCHES_SHARE_MAX * allowed:
        return [Finding("watches", "bad", says, f"sudo sysctl fs.inotify.max_user_watches={2 * allowed}")]
    return [Finding("watches", "ok", says)]


async def _room(parts: Parts) -> Sequence[Finding]:
    state = parts.database.path.parent
    free = (await asyncio.to_thread(shutil.disk_usage, state)).free
    says = f"{free / 1e9:.1f} GB are free where the queue is kept ({state})"
    kind = "bad" if free < ROOM_MIN_BYTES else "note" if free < ROOM_GOOD_BYTES else "ok"
    findings = [Finding("disk", kind, says, None if kind == "ok" else f"df -h {state}")]
    if is_remote(os.fsencode(state)):
        findings.append(Finding("disk", "bad", f"{state} lies on another machine: SQLite needs a disk of this one"))
    return findings


async def _database(parts: Parts) -> Sequence[Finding]:
    """What the janitor has found: to read all of a large one takes seconds."""
    if (await asyncio.to_thread(parts.database.path.stat)).st_size <= READ_AT_ONCE_BYTES_MAX:
        return await _database_now(parts)
    ago_s = await read_through_s_ago(parts.database, now=parts.clock.now())
    if ago_s is None:
        says = (
            "nobody knows yet whether the queue's database holds together: it is read through daily and after a crash"
        )
        return [Finding("database", "note", says, "sploot doctor --thorough")]
    return [Finding("database", "ok", f"the queue's database held together when it was read through {_ago(ago_s)}")]


async def _database_now(parts: Parts) -> Sequence[Finding]:
    try:
        await read_through(parts.database, now=parts.clock.now())
    except StoreDamaged as damage:
        await asyncio.to_thread(rescue.doubt, parts.database.path, damage.title)
        says = f"{damage.title} The next start sets it aside and goes on from the newest copy that holds together"
        return [Finding("database", "bad", says, "sploot daemon restart")]
    return [Finding("database", "ok", "the queue's database holds together")]


def _ago(seconds: float) -> str:
    """In words, as people count."""
    for unit, of_s in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if number := int(seconds // of_s):
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "just now"


async def _versions(parts: Parts) -> Sequence[Finding]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    findings = [Finding("versions", "ok", f"splootd {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")]
    if sqlite3.sqlite_version_info < WAL_RESET_MENDED:
        says = "this SQLite damages a database that two programs checkpoint: open the queue with no other tool"
        findings.append(Finding("sqlite", "note", says))
    return findings


async def _self_test(parts: Parts) -> Sequence[Finding]:
    """Send a picture that nobody has, ask for it, and delete it for good."""
    if parts.config.is_local and parts.more_needs():
        return []
    data = tiny_png(secrets.token_bytes(48))
    sha256 = hashlib.sha256(data).digest()
    version = Version(size=len(data), mtime_ns=0, device=0, inode=0)
    content = Content(b"/self-test.png", version, sha256, "image/png", "png", True, data, None)
    stored = await parts.server.upload(content)
    try:
        found = await parts.server.check(sha256, aside=True)
    finally:
        await parts.server.remove(stored.asset_id)
    if found is None or await parts.server.check(sha256, aside=True) is not None:
        return [Finding("self-test", "bad", "the library does not tell the truth about what it has", "sploot logs")]
    return [Finding("self-test", "ok", "a picture was sent, found and deleted again")]


def tiny_png(pixels: bytes) -> bytes:
    """A picture of 4 by 4 pixels of red, green and blue; PNG (ISO/IEC 15948)."""
    rows = b"".join(b"\0" + pixels[at : at + 12] for at in range(0, 48, 12))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
