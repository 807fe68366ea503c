"""What becomes of a file once the library has it: it is kept where it is, put into the trash, or moved to a folder."""

from dataclasses import dataclass

KEEP = b"keep"
TRASH = b"trash"
MOVE = b"move:"


@dataclass(frozen=True, slots=True)
class After:
    """A wish for later; no wish at all is to keep it. `folder` is absolute; None stands for the trash."""

    folder: bytes | None

    @classmethod
    def of(cls, word: bytes) -> "After | None":
        """What `keep`, `trash` or `move:FOLDER` means; ValueError for any other word."""
        if word == KEEP:
            return None
        if word == TRASH:
            return cls(None)
        if word.startswith(MOVE + b"/") and b"\0" not in word:
            return cls(word.removeprefix(MOVE))
        raise ValueError(word)

    @property
    def word(self) -> bytes:
        return TRASH if self.folder is None else MOVE + self.folder
