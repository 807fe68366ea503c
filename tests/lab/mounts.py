"""Temporary file systems: one in an image, with power cuts, and one in memory, with a small size."""

import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, of ext4 and xfs: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2  # drops everything in memory, including the journal
IMAGE_BYTES = {"ext4": 64 << 20, "xfs": 320 << 20}  # sparse; xfs needs at least 300 MB
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}
RELEASE_S_MAX = 60.0
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class PowerCuts:
    """A file system in an image. `cut` loses all unsynced data, like a power failure."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._image = folder / f"{kind}.image"
        self.root = folder / kind
        self.root.mkdir(exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES[kind])
        _run(*MAKE[kind], self._image)

    def mount(self) -> None:
        """Mount the image. After a cut this replays the journal."""
        _run("mount", "-o", "loop,nodiratime", self._image, self.root)

    def cut(self) -> None:
        """Shut the file system down: every write and sync fails, and nothing more reaches the image."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def restore_power(self) -> None:
        """Mount the file system again. No process may have an open file on it."""
        _run("umount", self.root)
        # A program that another test has started in a mount namespace of its own may hold a copy of the mount; until it
        # ends, mounting the image again would show the file system that is shut down.
        deadline = time.monotonic() + RELEASE_S_MAX
        while _run("losetup", "--associated", self._image):
            if time.monotonic() > deadline:
                raise MountError(f"{self._image} is still mounted elsewhere")
            time.sleep(0.05)
        self.mount()

    def remove(self) -> None:
        """Unmount and delete the file system in any state."""
        subprocess.run(["umount", "-l", self.root], env={"PATH": PATH}, capture_output=True, check=False)
        self._image.unlink(missing_ok=True)


@contextmanager
def power_cuts(kind: str, folder: Path) -> Iterator[PowerCuts]:
    """Create and mount a file system."""
    disk = PowerCuts(kind, folder)
    try:
        disk.mount()
        yield disk
    finally:
        disk.remove()


class SmallDisk:
    """A file system in memory with a given size."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resize(self, size_bytes: int) -> None:
        _run("mount", "-o", f"remount,size={size_bytes}", self.root)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder)
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "-l", folder)


@functools.cache
def why_not(kind: str) -> str:
    """Return why a file system of this kind (ext4, xfs or tmpfs) cannot be mounted; empty if it can."""
    if os.geteuid() != 0:
        return "mounting a file system requires root"
    if kind != "tmpfs" and shutil.which(MAKE[kind][0], path=PATH) is None:
        return f"{MAKE[kind][0]} is not installed (on Debian: apt-get install {PACKAGES[kind]})"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder, "try"), 4096) if kind == "tmpfs" else power_cuts(kind, Path(folder)) as disk:
                if isinstance(disk, PowerCuts):
                    disk.cut()
        except (MountError, OSError) as error:
            return f"{kind} cannot be mounted here: {error}"
    return ""


class MountError(Exception):
    """A file system could not be created, mounted or unmounted. Contains the output of the program."""


def _run(*command: str | Path) -> str:
    """Run a command and return its output. Raises MountError."""
    done = subprocess.run(command, env={"PATH": PATH}, capture_output=True, check=False)
    if done.returncode:
        raise MountError(done.stderr.decode().strip())
    return done.stdout.decode()
