"""Embeddings: the values that make an image searchable, and the interface that computes them.

The one implementation of `Embedder` (`inference/worker_pool.py`) runs in worker processes: decoders and models may
crash on a hostile image, and a stopped process returns its memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """The identity and the dimensions of the installed models.

    `name` identifies everything that an analysis depends on: vectors of different names are not comparable. `dim` is 0
    without a text encoder, `image_dim` is 0 without an image encoder. `image_cosine_range` holds the cosines of
    unrelated and of perfectly matching images and texts.
    """

    name: str
    dim: int
    image_dim: int = 0
    image_cosine_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ImageAnalysis:
    """The result of analyzing one image.

    `text` holds the recognized text, one line per line in the image; '' if the image contains none. `text_vector` is
    little-endian float32 of the model's dimension; None if there is no text or no text encoder. `width` and `height`
    are the displayed size in pixels; None if the image was not decoded. `image_vector` embeds the image itself; None
    without an image encoder. `dhash` identifies near-duplicates: see `near_duplicates.py`.
    """

    text: str
    text_vector: bytes | None
    width: int | None
    height: int | None
    image_vector: bytes | None = None
    dhash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a query or an asset, in the text space and in the image space; None without such an encoder."""

    text: bytes | None
    image: bytes | None


class UnreadableImage(Exception):
    """This image cannot be decoded, now or later; the message is a sentence with the reason."""


class WorkerCrashed(Exception):
    """The worker process crashed or timed out while it processed this image, and perhaps others.

    `is_isolated` is true if this image is the cause: the worker had no other, or this one exceeded its time limit.
    """

    def __init__(self, message: str, *, is_isolated: bool) -> None:
        super().__init__(message)
        self.is_isolated = is_isolated


class EmbedderUnavailable(Exception):
    """No worker is available at the moment; the request is not the cause."""


class Embedder(Protocol):
    """Analyzes up to `threads` images concurrently and embeds queries. An idle embedder holds no memory."""

    model: EmbeddingModel
    threads: int

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        """Analyze one image. Raises UnreadableImage, WorkerCrashed or EmbedderUnavailable; others are transient."""

    async def embed_query(self, text: str) -> Vectors:
        """Embed a query; inner products with the vectors of an analysis are cosines. Raises EmbedderUnavailable."""

    async def close(self) -> None: ...
