"""Post-upload action: keep the file, move it to the trash, or move it to a folder."""

from dataclasses import dataclass

KEEP = b"keep"
TRASH = b"trash"
MOVE_PREFIX = b"move:"


@dataclass(frozen=True, slots=True)
class PostUploadAction:
    """Action for one file after its upload. `folder` is absolute; None means the trash. Keeping a file is no action."""

    folder: bytes | None

    @classmethod
    def parse(cls, value: bytes) -> "PostUploadAction | None":
        """Parse `keep`, `trash` or `move:FOLDER`. Raises ValueError."""
        if value == KEEP:
            return None
        if value == TRASH:
            return cls(None)
        if value.startswith(MOVE_PREFIX + b"/") and b"\0" not in value:
            return cls(value.removeprefix(MOVE_PREFIX))
        raise ValueError(value)

    @property
    def serialized(self) -> bytes:
        return TRASH if self.folder is None else MOVE_PREFIX + self.folder
