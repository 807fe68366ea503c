"""Export of a library to a plain folder, and import from it.

The folder holds `originals/` with readable file names and `library.json` with one asset per line: its file, checksum,
names, tags, times and recognised text. The index is written as `library.json.part` and renamed when it is complete.
Deleted assets are not exported.
"""

import asyncio
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sploot_server.domain.entities import Asset, InvalidInput, LibraryError, NewAsset
from sploot_server.library.service import Library

FORMAT, VERSION = "sploot-library", 1
INDEX, PARTIAL_INDEX, ORIGINALS = "library.json", "library.json.part", "originals"
INDEX_BYTES_MAX = 1024 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
NAME_BYTES_MAX = 200
UNSAFE_CHARACTERS = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # device names on Windows
ID = re.compile(r"c[0-9a-z]{24}")
CHECKSUM = re.compile(r"[0-9a-f]{64}")


class ArchiveError(LibraryError):
    """The folder or one of its records is not a valid export; the message is shown to the user."""


class FilenameAllocator:
    """Allocates file names that are valid and distinct on every file system."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def allocate(self, filename: str, checksum: str) -> str:
        """Return a safe name close to `filename`; the same names in the same order get the same results."""
        sanitized = UNSAFE_CHARACTERS.sub("_", filename).strip(" .") or "untitled"
        if RESERVED_NAMES.match(sanitized):
            sanitized = f"_{sanitized}"
        stem, dot, ending = sanitized.rpartition(".")
        stem, ending = (stem, dot + ending) if stem and len(ending) <= 10 else (sanitized, "")
        for suffix in ("", f"-{checksum[:12]}", f"-{checksum}"):
            room = NAME_BYTES_MAX - len(suffix) - len(ending.encode())
            name = stem.encode()[:room].decode("utf-8", "ignore") + suffix + ending
            # macOS and Windows ignore case, and macOS normalises Unicode: names that differ only so would collide.
            key = unicodedata.normalize("NFKC", name).casefold()
            if key not in self._used:
                break
        self._used.add(key)
        return name


async def export_library(library: Library, folder: Path) -> int:
    """Write all assets that are not deleted and return their number. Reuse the files of an interrupted export."""
    await asyncio.to_thread(_prepare_folder, folder)
    filenames, count = FilenameAllocator(), 0
    with (folder / PARTIAL_INDEX).open("w", encoding="utf-8") as index:
        index.write(f'{{"format": "{FORMAT}", "version": {VERSION}, "assets": [')
        async for asset in library.iter_assets():
            if asset.deleted_at_ms is not None:
                continue
            name = filenames.allocate(asset.filename, asset.checksum)
            async with library.local_file(asset) as original:
                await asyncio.to_thread(_copy_original, original, folder / ORIGINALS / name, asset.checksum)
            index.write(("," if count else "") + "\n" + json.dumps(_asset_to_record(asset, name), ensure_ascii=False))
            count += 1
        index.write("\n]}\n")
        index.flush()
        os.fsync(index.fileno())
    (folder / PARTIAL_INDEX).replace(folder / INDEX)
    return count


class LibraryImporter:
    """Imports an exported folder. Assets already in the library are left unchanged, so an import may be repeated."""

    def __init__(self, library: Library, folder: Path) -> None:
        self._library = library
        self._folder = folder
        self.imported = 0
        self.already_present = 0
        self.rejected: list[str] = []  # one message per file

    async def run(self) -> None:
        """Import all records; collect failures of single files in `rejected`. Raise ArchiveError for a bad folder."""
        for record in await asyncio.to_thread(_read_records, self._folder):
            name = str(record.get("file")) if isinstance(record, dict) else "a record"
            try:
                await self._import_asset(_validate_record(record))
            except (LibraryError, OSError) as error:
                self.rejected.append(f"{name}: {getattr(error, 'strerror', None) or error}")

    async def _import_asset(self, record: Mapping[str, Any]) -> None:
        if await self._library.find_by_checksum(record["checksum"]) is not None:
            self.already_present += 1
            return
        async with self._library.open_upload() as sink:
            with _open_no_follow(self._folder / ORIGINALS / record["file"]) as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    sink.write(chunk)
                    self._library.check_size(sink.size_bytes)
                    await sink.flush_if_full()
            if sink.checksum != record["checksum"]:
                raise ArchiveError("the content does not match the exported checksum")
            await self._library.import_asset(
                sink,
                NewAsset(
                    id=record["id"],
                    checksum=record["checksum"],
                    filename=record["filename"],
                    folder=record["folder"],
                    mime=record["mime"],
                    size_bytes=sink.size_bytes,
                    tags=record["tags"],
                    favorite=record["favorite"],
                    created_at_ms=record["createdAtMs"],
                    updated_at_ms=record["updatedAtMs"],
                ),
            )
        self.imported += 1


def _prepare_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    present = {each.name for each in folder.iterdir()}
    if present and not present & {INDEX, PARTIAL_INDEX}:
        raise ArchiveError(f"{folder} is not empty and is not an export; choose another folder.")
    (folder / ORIGINALS).mkdir(exist_ok=True)


def _copy_original(original: Path, target: Path, checksum: str) -> None:
    if target.is_file() and not target.is_symlink() and _hash_file(target) == checksum:
        return
    part = target.with_name(f".{checksum}.part")
    with original.open("rb") as source, part.open("wb") as copy:
        while chunk := source.read(CHUNK_BYTES):
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    part.replace(target)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _asset_to_record(asset: Asset, name: str) -> Mapping[str, Any]:
    return {
        "file": name,
        "id": asset.id,
        "checksum": asset.checksum,
        "filename": asset.filename,
        "folder": asset.folder,
        "mime": asset.mime,
        "size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "tags": [tag.name for tag in asset.tags],
        "createdAtMs": asset.created_at_ms,
        "updatedAtMs": asset.updated_at_ms,
        "embedding": {"status": asset.embedding.state.value, "model": asset.embedding.model, "text": asset.text or ""},
    }


def _read_records(folder: Path) -> Iterator[Any]:
    index = folder / INDEX
    try:
        if index.stat().st_size > INDEX_BYTES_MAX:
            raise ArchiveError(f"{index} is larger than {INDEX_BYTES_MAX} bytes.")
        value = json.loads(index.read_text("utf-8"))
    except OSError as error:
        raise ArchiveError(f"{index} cannot be read: {error.strerror}. Is this an exported folder?") from error
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{index} is not valid JSON: {error}.") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("assets"), list):
        raise ArchiveError(f"{index} is not the index of an exported library.")
    if value.get("version") != VERSION:
        raise ArchiveError(f"{index} has version {value.get('version')}; this program supports version {VERSION}.")
    return iter(value["assets"])


def _validate_record(record: Any) -> Mapping[str, Any]:
    """Return `record` if every field has the right type. Raise ArchiveError.

    An export may come from another person: `file` must not leave the folder of originals.
    """
    rules: Mapping[str, Any] = {
        "file": lambda value: (
            isinstance(value, str) and value not in ("", ".", "..") and not re.search(r"[/\\\0]", value)
        ),
        "id": lambda value: isinstance(value, str) and ID.fullmatch(value),
        "checksum": lambda value: isinstance(value, str) and CHECKSUM.fullmatch(value),
        "filename": lambda value: isinstance(value, str),
        "folder": lambda value: isinstance(value, str),
        "mime": lambda value: isinstance(value, str),
        "favorite": lambda value: isinstance(value, bool),
        "tags": lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
        "createdAtMs": _is_time,
        "updatedAtMs": _is_time,
    }
    if not isinstance(record, dict):
        raise ArchiveError("the record is not an object")
    for name, is_valid in rules.items():
        if not is_valid(record.get(name)):
            raise ArchiveError(f"{name} is missing or invalid in {INDEX}")
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ArchiveError("the record contains text that is not valid Unicode") from error
    return record


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 48


def _open_no_follow(path: Path) -> BinaryIO:
    """Open a regular file without following links. Raise InvalidInput or OSError.

    O_NOFOLLOW checks the last component only, hence the check of the parent. O_NONBLOCK: opening a FIFO would block.
    """
    if path.parent.is_symlink():
        raise InvalidInput("the folder of originals is a symbolic link")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
