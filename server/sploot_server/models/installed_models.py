"""The models of a library: folders below `models/` in its data folder.

NAME-REVISION/     the files of a model, and `source.json` with its origin, revision, licence and checksums
wanted.json        the models that the library is to be read with; written by `model add` and `model remove`
in_use.json        the models that it was read with last; written by the server
incoming/          downloads that may continue
staged/            what the server has read with the wanted models so far

A library has at most one model of each kind: a picture model and a text encoder.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sploot_server.inference.model_folder import by_kind, model_kind
from sploot_server.inference.model_manifest import ModelUnusable

SOURCE_FILE = "source.json"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model in its folder."""

    folder: Path
    kind: str
    name: str
    origin: str
    revision: str
    licence: str
    size_bytes: int
    sha256: Mapping[str, str]  # by the name of the file


class InstalledModels:
    """Finds and changes the models of the library in the folder `data`."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "models"
        self.incoming = self.folder / "incoming"
        self.staged = self.folder / "staged"

    def wanted(self) -> Sequence[Path]:
        """Return the folders of the models to read the library with."""
        return self._read("wanted.json")

    def in_use(self) -> Sequence[Path]:
        """Return the folders of the models that the library was read with last."""
        return self._read("in_use.json")

    def add(self, complete: Path, folder_name: str) -> Path:
        """Install the folder `complete` under a name, and want it in the place of the model of its kind, if any.

        Its place may hold the same model already.
        """
        target = self.folder / folder_name
        with self._locked():
            if target.exists():
                shutil.rmtree(complete)
            else:
                complete.rename(target)
            self._write("wanted.json", by_kind([*self.wanted(), target]).values())
            self._discard_unused()
        return target

    def remove(self, name: str) -> None:
        """Stop wanting a model. Its folder goes when the server no longer uses it. Raises ModelUnusable."""
        with self._locked():
            wanted = {folder: read_model(folder).name for folder in self.wanted()}
            if name not in wanted.values():
                known = f"it has {' and '.join(wanted.values())}" if wanted else "it has none"
                raise ModelUnusable(f"The library has no model {name}; {known}.")
            self._write("wanted.json", [folder for folder, each in wanted.items() if each != name])
            self._discard_unused()

    def mark_in_use(self, folders: Iterable[Path]) -> None:
        """Record that the library was read with some models, and delete those that nothing needs any more."""
        with self._locked():
            self._write("in_use.json", folders)
            self._discard_unused()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep the server from deleting a folder that `model add` has put into place but not yet named as wanted."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _discard_unused(self) -> None:
        needed = {*self.wanted(), *self.in_use()}
        for model in self.list_all():
            if model.folder not in needed:
                shutil.rmtree(model.folder, ignore_errors=True)

    def list_all(self) -> list[InstalledModel]:
        return [
            read_model(file.parent) for file in sorted(self.folder.glob(f"*/{SOURCE_FILE}")) if self._is_model(file)
        ]

    def _is_model(self, source: Path) -> bool:
        return source.parent not in (self.incoming, self.staged)

    def _read(self, name: str) -> Sequence[Path]:
        try:
            names = json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return []
        folders = [self.folder / str(each) for each in names] if isinstance(names, list) else []
        return [folder for folder in folders if (folder / SOURCE_FILE).is_file()]

    def _write(self, name: str, folders: Iterable[Path]) -> None:
        """Replace the file in one step, so that the other program never reads half of it."""
        temporary = self.folder / f"{name}.new"
        temporary.write_text(json.dumps(sorted(folder.name for folder in folders)))
        temporary.replace(self.folder / name)


def read_model(folder: Path) -> InstalledModel:
    source: Mapping[str, Any] = json.loads((folder / SOURCE_FILE).read_text())
    size_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return InstalledModel(folder=folder, kind=model_kind(folder), size_bytes=size_bytes, **source)
