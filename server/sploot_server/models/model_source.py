"""Where a model comes from, and the files that it consists of, before anything is fetched.

DIR                         a folder
FILE.zip, FILE.tar.gz       an archive
https://host/FILE.zip       an archive, to be fetched
hf:OWNER/NAME[@REVISION]    a repository of a model hub; REVISION is a branch, a tag or a commit
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sploot_server.inference.model_manifest import ModelUnusable

HUB_PREFIX = "hf:"
HUB_REPOSITORY = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. `size_bytes` and the checksums are None where the source does not state them.

    `git_sha1` is the id that git gives to the content: SHA-1 over `blob SIZE`, a NUL, and the bytes.
    """

    name: str
    location: str  # a URL or a path
    size_bytes: int | None
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as its source describes it; `revision` and `licence` are '' where it states none."""

    name: str
    origin: str
    revision: str
    licence: str
    files: tuple[ModelFile, ...]

    @property
    def size_bytes(self) -> int | None:
        """Return the size of all files, or None if that of one is unknown."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of a model hub. `revision` may be a branch, which moves."""

    name: str
    revision: str


def parse_source(text: str) -> HubRepository | Path | str:
    """Return a repository, the path of a folder or an archive, or the URL of an archive. Raises ModelUnusable."""
    if text.startswith(HUB_PREFIX):
        match = HUB_REPOSITORY.fullmatch(text.removeprefix(HUB_PREFIX))
        if match is None or ".." in text:
            raise ModelUnusable(f"{text} is not a repository of a hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION.")
        return HubRepository(match["name"], match["revision"] or "main")
    if "://" in text:
        if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname:
            raise ModelUnusable(f"{text} is not a URL that can be fetched; it must start with https:// or http://.")
        return text
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise ModelUnusable(f"{path} does not exist. Name a folder, an archive, a URL or hf:OWNER/NAME.")
    return path


def model_name(text: str) -> str:
    """Return a name for people and for a folder, from the last part of a path, a URL or a repository."""
    last = re.split("[?#]", text)[0].rstrip("/").rpartition("/")[2]
    stem = re.sub(r"\.(zip|tar|tgz|tar\.\w+)$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9.-]+", "-", stem).strip("-.")[:64].lower() or "model"
