"""A library as a folder that anybody can read: `originals/` under their own names, and `library.json` beside it.

`library.json` holds one asset a line: its file, checksum, names, tags, times and what was read in it. It is written as
`library.json.part` and gets its name when everything is there. Hidden assets are not in it.
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

from sploot_server.library import Library
from sploot_server.model import Content, Invalid, LibraryError, NewAsset

FORMAT, VERSION = "sploot-library", 1
INDEX, PART, ORIGINALS = "library.json", "library.json.part", "originals"
INDEX_BYTES_MAX = 1024 * 1024 * 1024
PIECE_BYTES = 256 * 1024
NAME_BYTES_MAX = 200
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # devices, on Windows
ID = re.compile(r"c[0-9a-z]{24}")
CHECKSUM = re.compile(r"[0-9a-f]{64}")


class ArchiveError(LibraryError):
    """The folder is not what it should be; the message is a sentence for people."""


class Names:
    """Names of files that no system confuses with each other, nor with anything but a file."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, filename: str, checksum: str) -> str:
        """Like `filename` as far as that can be; always the same for the same names in the same order."""
        plain = UNSAFE.sub("_", filename).strip(" .") or "untitled"
        if RESERVED.match(plain):
            plain = f"_{plain}"
        stem, dot, ending = plain.rpartition(".")
        stem, ending = (stem, dot + ending) if stem and len(ending) <= 10 else (plain, "")
        for mark in ("", f"-{checksum[:12]}", f"-{checksum}"):
            room = NAME_BYTES_MAX - len(mark) - len(ending.encode())
            name = stem.encode()[:room].decode("utf-8", "ignore") + mark + ending
            key = unicodedata.normalize("NFKC", name).casefold()
            if key not in self._taken:
                break
        self._taken.add(key)
        return name


async def export(library: Library, folder: Path) -> int:
    """Write all that is live; how many assets. What an export that broke off has written is used again."""
    await asyncio.to_thread(_prepare, folder)
    names, count = Names(), 0
    with (folder / PART).open("w", encoding="utf-8") as index:
        index.write(f'{{"format": "{FORMAT}", "version": {VERSION}, "assets": [')
        async for content in library.contents():
            if content.hidden:
                continue
            name = names.name(content.asset.filename, content.asset.checksum)
            async with library.local(content.asset) as original:
                await asyncio.to_thread(_copy, original, folder / ORIGINALS / name, content.asset.checksum)
            index.write(("," if count else "") + "\n" + json.dumps(_record(content, name), ensure_ascii=False))
            count += 1
        index.write("\n]}\n")
        index.flush()
        os.fsync(index.fileno())
    (folder / PART).replace(folder / INDEX)
    return count


class Intake:
    """Takes an exported folder into a library. What is there already is left as it is, so it may be done again."""

    def __init__(self, library: Library, folder: Path) -> None:
        self._library = library
        self._folder = folder
        self.taken = 0
        self.known = 0
        self.refused: list[str] = []  # sentences, each about one file

    async def run(self) -> None:
        """Raises ArchiveError if there is no such folder; what is wrong with single files is in `refused`."""
        for record in await asyncio.to_thread(_records, self._folder):
            name = str(record.get("file")) if isinstance(record, dict) else "a record"
            try:
                await self._take(_checked(record))
            except (LibraryError, OSError) as error:
                self.refused.append(f"{name}: {getattr(error, 'strerror', None) or error}")

    async def _take(self, record: Mapping[str, Any]) -> None:
        if await self._library.find(record["checksum"]) is not None:
            self.known += 1
            return
        async with self._library.incoming() as incoming:
            with _opened(self._folder / ORIGINALS / record["file"]) as file:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    incoming.write(piece)
                    self._library.refuse_oversize(incoming.size_bytes)
                    await incoming.settle()
            if incoming.checksum != record["checksum"]:
                raise ArchiveError("its bytes are not those that were exported")
            await self._library.bring(
                incoming,
                NewAsset(
                    id=record["id"],
                    checksum=record["checksum"],
                    filename=record["filename"],
                    mime=record["mime"],
                    size_bytes=incoming.size_bytes,
                    tags=record["tags"],
                    favorite=record["favorite"],
                    created_at_ms=record["createdAtMs"],
                    updated_at_ms=record["updatedAtMs"],
                ),
            )
        self.taken += 1


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    present = {each.name for each in folder.iterdir()}
    if present and not present & {INDEX, PART}:
        raise ArchiveError(f"{folder} is not empty, and holds no export; choose another folder.")
    (folder / ORIGINALS).mkdir(exist_ok=True)


def _copy(original: Path, target: Path, checksum: str) -> None:
    if target.is_file() and not target.is_symlink() and _checksum_of(target) == checksum:
        return
    part = target.with_name(f".{checksum}.part")
    with original.open("rb") as source, part.open("wb") as copy:
        while piece := source.read(PIECE_BYTES):
            copy.write(piece)
        copy.flush()
        os.fsync(copy.fileno())
    part.replace(target)


def _checksum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(content: Content, name: str) -> Mapping[str, Any]:
    asset = content.asset
    return {
        "file": name,
        "id": asset.id,
        "checksum": asset.checksum,
        "filename": asset.filename,
        "mime": asset.mime,
        "size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "favorite": asset.favorite,
        "tags": [tag.name for tag in asset.tags],
        "createdAtMs": asset.created_at_ms,
        "updatedAtMs": asset.updated_at_ms,
        "embedding": {"status": asset.embedding.state.value, "model": asset.embedding.model, "text": content.text},
    }


def _records(folder: Path) -> Iterator[Any]:
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
        raise ArchiveError(f"{index} does not describe a library.")
    if value.get("version") != VERSION:
        raise ArchiveError(f"{index} has version {value.get('version')}, this program knows {VERSION}.")
    return iter(value["assets"])


def _checked(record: Any) -> Mapping[str, Any]:
    """Raises ArchiveError unless a record can be trusted as far as its form goes."""
    rules: Mapping[str, Any] = {
        "file": lambda value: (
            isinstance(value, str) and value not in ("", ".", "..") and not re.search(r"[/\\\0]", value)
        ),
        "id": lambda value: isinstance(value, str) and ID.fullmatch(value),
        "checksum": lambda value: isinstance(value, str) and CHECKSUM.fullmatch(value),
        "filename": lambda value: isinstance(value, str),
        "mime": lambda value: isinstance(value, str),
        "favorite": lambda value: isinstance(value, bool),
        "tags": lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
        "createdAtMs": _is_time,
        "updatedAtMs": _is_time,
    }
    if not isinstance(record, dict):
        raise ArchiveError("it is not an object")
    for name, is_right in rules.items():
        if not is_right(record.get(name)):
            raise ArchiveError(f"its {name} is missing or wrong in {INDEX}")
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ArchiveError("it has text that is not Unicode") from error
    return record


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 48


def _opened(path: Path) -> BinaryIO:
    """The file itself, wherever a link of its name would lead. Raises Invalid or OSError."""
    if path.parent.is_symlink():
        raise Invalid("the folder of originals is a link")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
