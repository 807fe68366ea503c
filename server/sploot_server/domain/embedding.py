"""Embeddings: the values that make an image searchable, and the interface that computes them.

The one implementation of `Embedder` (`inference/worker_pool.py`) runs in worker processes: decoders and models may
crash on a hostile image, and a stopped process returns its memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sploot_server.domain.near_duplicates import Look


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
    without an image encoder. `dhash`, `colours` and `aspect_ratio` identify near-duplicates: see `near_duplicates.py`.
    `thumbnail` is the WebP file that the wall shows, made of the same pixels; None if the image was not decoded.
    `hubness` is the similarity that any query has to the text.
    `features` identify the template and doubtful near-duplicates: see `template_features.py`.
    """

    text: str
    text_vector: bytes | None
    width: int | None
    height: int | None
    image_vector: bytes | None = None
    dhash: bytes | None = None
    colours: bytes = b""
    thumbnail: bytes | None = None
    hubness: float = 0.0
    features: bytes = b""
    aspect_ratio: float = 0.0

    @property
    def look(self) -> Look | None:
        """Return what is compared with other images; None if the image was not decoded."""
        return None if self.dhash is None else Look(self.dhash, self.colours, self.aspect_ratio, self.text)


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a query or an asset, in the text space and in the image space; None without such an encoder.

    `background` is the similarity that a query has to any text.
    """

    text: bytes | None
    image: bytes | None
    background: float = 0.0


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

    @property
    def model(self) -> EmbeddingModel: ...

    @property
    def threads(self) -> int: ...

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        """Analyze one image. Raises UnreadableImage, WorkerCrashed or EmbedderUnavailable; others are transient."""

    async def describe_picture(self, path: Path) -> tuple[bytes, bytes]:
        """Return the features of a picture and of its mirror image. Raises as `analyze_image` does."""

    async def embed_query(self, text: str) -> Vectors:
        """Embed a query; inner products with the vectors of an analysis are cosines. Raises EmbedderUnavailable."""

    async def close(self) -> None: ...
