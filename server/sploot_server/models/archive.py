"""Unpacks zip and tar archives of models: plain files only, below the target, within a size."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from sploot_server.inference.model_manifest import ModelUnusable

UNPACKED_BYTES_MAX = 8 * 1024**3
MEMBERS_MAX = 1_000
CHUNK_BYTES = 256 * 1024
BROKEN_ARCHIVE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, ValueError),
)


def unpack(archive: Path, target: Path) -> None:
    """Unpack into the folder `target`. Raises ModelUnusable if a member leaves it, or the archive is too large."""
    left = UNPACKED_BYTES_MAX
    try:
        for number, (name, content) in enumerate(_members(archive)):
            if number >= MEMBERS_MAX:
                raise ModelUnusable(f"{archive.name} has more than {MEMBERS_MAX} files.")
            path = target / _safe_name(name, archive)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as output:
                while chunk := content.read(CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise ModelUnusable(f"{archive.name} is larger than {UNPACKED_BYTES_MAX} bytes when unpacked.")
                    output.write(chunk)
    except FileExistsError as error:
        raise ModelUnusable(f"{archive.name} holds the same file twice.") from error
    except BROKEN_ARCHIVE as error:
        raise ModelUnusable(f"{archive.name} is damaged: {error}.") from error


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of each file; folders are made as files need them."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as content:
                        yield info.filename, content
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                extracted = tar.extractfile(member) if member.isreg() else None
                if extracted is not None:
                    yield member.name, extracted
                elif not member.isdir():
                    raise ModelUnusable(f"{archive.name} holds {member.name}, which is not a plain file.")
    else:
        raise ModelUnusable(f"{archive.name} is neither a zip nor a tar archive.")


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or {"\\", ":", "\0"} & set(name):
        raise ModelUnusable(f"{archive.name} holds {name!r}, a path that would leave its folder.")
    return path
