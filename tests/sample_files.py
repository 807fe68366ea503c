"""Sample files: large numbers of valid images for load tests, and odd files that a folder may contain."""

import io
import os
import random
import socket
import struct
import sys
import tempfile
from pathlib import Path

from PIL import Image

UPLOAD_BYTES_MAX = 10 * 1024 * 1024
SEGMENT_BYTES_MAX = 65_537  # JPEG: a marker of two bytes, then a 16-bit length that includes itself
SEGMENT_HEAD_BYTES = 4
COMMENT_MARKER = b"\xff\xfe"
PICTURE_START = b"\xff\xd8"
LABEL = b"%016d/%016d"  # seed and index

# Only the signatures of such files (ISO 14496-12: size, `ftyp`, major brand, version, compatible brands).
STUBS = {
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    "mp4": b"\0\0\0\x18ftypisom\0\0\x02\0isommp42",
}


def mass(folder: Path, count: int, size_bytes: int, seed: int = 0) -> list[Path]:
    """Write `count` valid JPEGs of exactly `size_bytes` each, about as fast as the disk allows.

    All show the same small image; comment segments pad the files and make each unique. Raises ValueError if the image
    alone is larger than `size_bytes`; 4,000 always suffice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(_padded(_picture(seed), size_bytes, seed))
    start = len(PICTURE_START) + SEGMENT_HEAD_BYTES
    paths = []
    for index in range(count):
        label = LABEL % (seed, index)
        content[start : start + len(label)] = label
        path = folder / f"mass-{seed}-{index:06}.jpg"
        path.write_bytes(content)
        paths.append(path)
    return paths


def odd(folder: Path) -> dict[str, Path]:
    """Write one of each kind of odd file into the folder; return their paths by kind.

    `hidden`, `non_utf8` and `newline` are valid images with odd names. Kinds that the system does not support are
    omitted: non-UTF-8 names on macOS, and unreadable files for root. Restore the permissions of `unreadable_folder`
    before deleting the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _odd_contents(folder) | _odd_names(folder) | _odd_kinds(folder) | _unreadable(folder)


def _odd_contents(folder: Path) -> dict[str, Path]:
    contents = {
        "empty": ("empty.png", b""),
        "text": ("text.png", b"This is no picture.\n"),
        "truncated": ("truncated.jpg", _picture(1)[:-600]),
        "partial_download": ("funny.jpg.crdownload", _picture(2)[:-600]),
        "over_limit": ("over-limit.jpg", _padded(_picture(3), UPLOAD_BYTES_MAX + 1, 3)),
    } | {kind: (f"stub.{kind}", magic) for kind, magic in STUBS.items()}
    paths = {}
    for kind, (name, content) in contents.items():
        paths[kind] = folder / name
        paths[kind].write_bytes(content)
    return paths


def _odd_names(folder: Path) -> dict[str, Path]:
    names = {"hidden": b".hidden.jpg", "newline": b"two\nlines.jpg"}
    if sys.platform != "darwin":
        names["non_utf8"] = b"caf\xe9.jpg"
    paths = {}
    for seed, (kind, name) in enumerate(names.items(), start=4):
        paths[kind] = folder / os.fsdecode(name)
        paths[kind].write_bytes(_picture(seed))
    return paths


def _odd_kinds(folder: Path) -> dict[str, Path]:
    names = ("fifo.jpg", "socket.jpg", "broken-link.jpg", "link-loop.jpg", "folder-loop")
    fifo, bound, broken, loop, folder_loop = (folder / name for name in names)
    os.mkfifo(fifo)
    _bind(bound)
    broken.symlink_to("nowhere.jpg")
    loop.symlink_to(loop.name)
    folder_loop.symlink_to(".", target_is_directory=True)
    return {"fifo": fifo, "socket": bound, "broken_link": broken, "link_loop": loop, "folder_loop": folder_loop}


def _bind(path: Path) -> None:
    """Create a socket file at the path, through a short link, because socket paths are limited to about 100 bytes."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:
        link = Path(short, "f")
        link.symlink_to(path.parent.resolve())
        bound.bind(str(link / path.name))


def _unreadable(folder: Path) -> dict[str, Path]:
    if os.geteuid() == 0:
        return {}
    file, inner = folder / "unreadable.jpg", folder / "unreadable"
    file.write_bytes(_picture(8))
    file.chmod(0)
    inner.mkdir()
    (inner / "inside.jpg").write_bytes(_picture(9))
    inner.chmod(0)
    return {"unreadable": file, "unreadable_folder": inner}


def _picture(seed: int) -> bytes:
    """Return one small JPEG of smooth colours."""
    cells = Image.frombytes("RGB", (4, 3), random.Random(seed).randbytes(36))
    encoded = io.BytesIO()
    cells.resize((160, 120), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=80)
    return encoded.getvalue()


def _padded(picture: bytes, size_bytes: int, seed: int) -> bytes:
    """Pad a JPEG to exactly `size_bytes` with comment segments of noise after its first marker."""
    room = size_bytes - len(picture)
    if room < SEGMENT_HEAD_BYTES + len(LABEL % (0, 0)):
        raise ValueError(
            f"A file of {size_bytes} bytes has no room for an image of {len(picture)} bytes and its label."
        )
    rng = random.Random(seed)
    count = -(-room // SEGMENT_BYTES_MAX)
    sizes = [room // count + (index < room % count) for index in range(count)]
    comments = [
        COMMENT_MARKER + struct.pack(">H", size - 2) + rng.randbytes(size - SEGMENT_HEAD_BYTES) for size in sizes
    ]
    return PICTURE_START + b"".join(comments) + picture[len(PICTURE_START) :]
