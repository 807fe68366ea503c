"""What makes a picture searchable: its text, and a vector of what that text means.

`Embedder` is the seam. The one implementation, in `workers.py` and `worker.py`, uses other processes, because
decoders and models may crash on a hostile picture and because their memory is wanted back when there is nothing to do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Model:
    """`name` stands for all that a reading depends on: vectors of different models are not comparable.

    `dim` is 0 if the model knows words only, `picture_dim` if it does not know pictures. `picture_cosines` are what
    unrelated and what perfectly matching pictures and texts come to.
    """

    name: str
    dim: int
    picture_dim: int = 0
    picture_cosines: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in one picture.

    `text` holds one line of writing per line, '' if there is none. `vector` is of what the text means: little-endian
    float32 of the embedder's dimension and length 1; None if there is no text, or no model to embed it. `width` and
    `height` are in pixels, as the picture is meant to be seen; None where nobody looked into it. `picture` is a vector
    like the other, of the picture itself; None without a model that knows pictures. `look` is what near-duplicates are
    told by: see `looks.py`.
    """

    text: str
    vector: bytes | None
    width: int | None
    height: int | None
    picture: bytes | None = None
    look: bytes | None = None


@dataclass(frozen=True, slots=True)
class Vectors:
    """What is looked for, in the space of the texts' vectors and in that of the pictures'; None where there is none."""

    text: bytes | None
    picture: bytes | None


class Unreadable(Exception):
    """This picture can never be read; the message is a sentence that says why."""


class Lost(Exception):
    """The worker died or hung while it had this picture, and perhaps others.

    `alone` is true if the picture is to blame: no other was being read, or this one took too long.
    """

    def __init__(self, message: str, *, alone: bool) -> None:
        super().__init__(message)
        self.alone = alone


class Unavailable(Exception):
    """No worker can be had at the moment; the request is not to blame."""


class Embedder(Protocol):
    """Reads pictures and queries, `threads` at once. Nothing is held while it idles."""

    model: Model
    threads: int

    async def read(self, picture: Path) -> Reading:
        """Raises Unreadable, Lost or Unavailable; anything else is a passing fault."""

    async def query(self, text: str) -> Vectors:
        """The vectors of a query: their inner products with those of readings are cosines. Raises Unavailable."""

    async def close(self) -> None: ...
