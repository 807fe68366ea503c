"""A model of a disk after a power cut, less reliable than any real file system.

Only synced data is durable: the bytes of a file after an fsync of the file, a name after an fsync of its folder. Any
other change may be there or not, in any combination: changes are lost or reordered, writes are torn between sectors.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab.strace import Call

SECTOR_BYTES = 512
KEPT = (0.1, 0.5, 0.9)  # the probability that an unsynced change survives
TORN = 0.3  # the probability that a surviving write is torn
NOT_MODELLED = (
    *("creat", "pwritev", "pwritev2", "sync_file_range", "truncate", "fallocate", "copy_file_range", "sendfile"),
    *("splice", "link", "linkat", "symlink", "symlinkat"),
)
SHARED_MEMORY = "-shm"  # SQLite's index of the log: written through shared memory, and rebuilt after a crash

Tree = dict[str, bytes | None]  # path below the root to bytes, or None for a folder


@dataclass(slots=True)
class Change:
    """Bytes written at an offset; without data, a new length."""

    at: int
    offset: int
    data: bytes | None

    def apply(self, content: bytearray, keeps_sector: Callable[[], bool] = lambda: True) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
            return
        for start in range(0, len(self.data), SECTOR_BYTES):
            if keeps_sector():
                piece = self.data[start : start + SECTOR_BYTES]
                where = self.offset + start
                content.extend(bytes(max(0, where - len(content))))
                content[where : where + len(piece)] = piece


@dataclass(eq=False, slots=True)
class File:
    """The durable bytes of a file, and its unsynced changes."""

    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list)
    position: int = 0  # the file offset of `write`; the model supports one such descriptor per file


class Folder:
    """A folder; its names are `Naming` changes."""


Node = File | Folder


@dataclass(slots=True)
class Naming:
    """A name that is created, removed or renamed. It is durable when `home` is synced."""

    at: int
    node: Node
    home: str
    old: str | None
    new: str | None

    def apply(self, names: dict[str, Node]) -> None:
        if self.old is not None and names.get(self.old) is self.node:
            del names[self.old]
        if self.new is not None:
            names[self.new] = self.node


def put(tree: Tree, folder: Path) -> None:
    """Write a tree into an empty folder."""
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def _lost(*_: object) -> bool:
    return False


def _kept(*_: object) -> bool:
    return True


class Disk:
    """The files under `root` during a recorded run, which starts with the tree `before`."""

    def __init__(self, root: Path, before: Tree) -> None:
        self._root = str(root)
        self._durable: dict[str, Node] = {
            path: Folder() if content is None else File(bytearray(content)) for path, content in before.items()
        }
        self._unsynced: list[Naming] = []
        self._live: dict[str, Node] = dict(self._durable)

    def apply(self, call: Call) -> bool:
        """Apply a call. Returns whether it changed or synced anything."""
        if call.failed:
            return False
        if call.name in NOT_MODELLED and self._concerns(call):
            raise ValueError(f"{call.name} is not modelled")
        change = getattr(self, f"_{call.name}", None)
        return bool(change and change(call))

    def states(self, rng: random.Random, draws: int) -> Iterator[tuple[str, Tree]]:
        """Yield the four extremes, and `draws` random combinations."""
        for names in (_lost, _kept):
            for content in (_lost, _kept):
                how = f"unsynced names {names.__name__[1:]}, unsynced bytes {content.__name__[1:]}"
                yield how, self._tree(names, content, _kept)
        for _ in range(draws):
            seed = rng.getrandbits(32)
            chance = random.Random(seed)
            kept = chance.choice(KEPT)
            torn = chance.random() < TORN

            def survives(_: object, chance: random.Random = chance, kept: float = kept) -> bool:
                return chance.random() < kept

            def keeps_sector(chance: random.Random = chance, torn: bool = torn) -> bool:
                return not torn or chance.random() < 0.5

            yield f"random, seed {seed}", self._tree(survives, survives, keeps_sector)

    def _tree(
        self,
        keeps_name: Callable[[Naming], bool],
        keeps_change: Callable[[Change], bool],
        keeps_sector: Callable[[], bool],
    ) -> Tree:
        names = dict(self._durable)
        for naming in self._unsynced:
            if keeps_name(naming):
                naming.apply(names)
        tree: Tree = {}
        for path, node in sorted(names.items()):
            parent = str(PurePosixPath(path).parent)
            if (parent != "." and tree.get(parent, b"") is not None) or path.endswith(SHARED_MEMORY):
                continue  # in a missing folder
            if isinstance(node, Folder):
                tree[path] = None
                continue
            content = bytearray(node.durable)
            for change in node.unsynced:
                if keeps_change(change):
                    change.apply(content, keeps_sector)
            tree[path] = bytes(content)
        return tree

    # One method for each system call that changes something.

    def _openat(self, call: Call) -> bool:
        path = self._below(call.texts()[0].decode(), call.descriptors()[0][1])
        if path is None or path == ".":
            return False
        node = self._live.get(path)
        if node is None:
            if "O_CREAT" not in call.arguments:
                raise ValueError(f"{path} existed before the recording")
            self._name(call, File(), None, path)
            return True
        if isinstance(node, File):
            node.position = 0
            if "O_APPEND" in call.arguments:
                raise ValueError("appending is not modelled")
            if "O_TRUNC" in call.arguments:
                node.unsynced.append(Change(call.ended, 0, None))
                return True
        return False

    def _write(self, call: Call) -> bool:
        node = self._open_file(call)
        if node is None:
            return False
        node.unsynced.append(Change(call.ended, node.position, call.texts()[0][: call.result]))
        node.position += call.result
        return True

    def _pwrite64(self, call: Call) -> bool:
        node = self._open_file(call)
        if node is None:
            return False
        node.unsynced.append(Change(call.ended, call.numbers()[-1], call.texts()[0][: call.result]))
        return True

    def _ftruncate(self, call: Call) -> bool:
        node = self._open_file(call)
        if node is None:
            return False
        node.unsynced.append(Change(call.ended, call.numbers()[-1], None))
        return True

    def _fsync(self, call: Call) -> bool:
        path = self._open_path(call)
        if path is None:
            return False
        node = self._live.get(path)
        if isinstance(node, File):
            self._settle_file(node, call.began)
        else:
            self._settle_folder(path, call.began)
        return True

    _fdatasync = _fsync

    def _mkdir(self, call: Call) -> bool:
        path = self._below(call.texts()[0].decode())
        return path is not None and self._name(call, Folder(), None, path)

    def _rename(self, call: Call) -> bool:
        old, new = (self._below(text.decode()) for text in call.texts())
        if (old is None) != (new is None):
            raise ValueError("a move into or out of the recorded folder is not modelled")
        if old is None or new is None:
            return False
        if isinstance(self._live[old], Folder):
            raise NotImplementedError("the move of a folder is not modelled")
        return self._name(call, self._live[old], old, new)

    def _unlink(self, call: Call) -> bool:
        path = self._below(call.texts()[0].decode(), *(name for _, name in call.descriptors()[:1]))
        if path is None or path not in self._live:  # the name of a socket, which a power cut may remove
            return False
        return self._name(call, self._live[path], path, None)

    _unlinkat = _rmdir = _unlink

    def _mmap(self, call: Call) -> bool:
        shared = "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments
        if shared and any(
            (below := self._below(name)) and not below.endswith(SHARED_MEMORY) for _, name in call.descriptors()
        ):
            raise ValueError("writing through memory is not modelled")
        return False

    def _name(self, call: Call, node: Node, old: str | None, new: str | None) -> bool:
        home = str(PurePosixPath(new or old or "").parent)
        naming = Naming(call.ended, node, home, old, new)
        naming.apply(self._live)
        self._unsynced.append(naming)
        return True

    def _settle_file(self, file: File, before: int) -> None:
        """Make the changes from before the start of a sync durable."""
        for change in file.unsynced:
            if change.at < before:
                change.apply(file.durable)
        file.unsynced = [change for change in file.unsynced if change.at >= before]

    def _settle_folder(self, path: str, before: int) -> None:
        settled = [naming for naming in self._unsynced if naming.home == path and naming.at < before]
        for naming in settled:
            naming.apply(self._durable)
        # A durable rename has also removed the old name, whatever happens to the folder of that name.
        moved = {naming.node: naming.at for naming in settled if naming.old is not None}
        self._unsynced = [
            naming for naming in self._unsynced if naming not in settled and naming.at >= moved.get(naming.node, 0)
        ]

    def _open_file(self, call: Call) -> File | None:
        """Return the file that a call writes to, if it is below the root."""
        path = self._open_path(call)
        node = None if path is None else self._live[path]
        assert not isinstance(node, Folder)
        return node

    def _open_path(self, call: Call) -> str | None:
        """Return the path of the first descriptor, if it is below the root and not deleted."""
        deleted = call.arguments.split(",", 1)[0].endswith(">(deleted)")
        return None if deleted else self._below(call.descriptors()[0][1])

    def _below(self, path: str, folder: str = "/") -> str | None:
        """Return the path relative to the root, `.` for the root itself, None for other paths."""
        whole = PurePosixPath(folder, path)
        return str(whole.relative_to(self._root)) if whole.is_relative_to(self._root) else None

    def _concerns(self, call: Call) -> bool:
        named = [name for _, name in call.descriptors()] + [text.decode("latin-1") for text in call.texts()]
        return any(self._below(name) is not None for name in named)
