"""Decoding of untrusted videos to upright frames: the first, the middle and the last. Runs in worker processes only.

The extra `video` brings the decoders. A file is opened as what its first bytes say, so none can name another file, and
only in codecs that browsers play. The decoders check the size of every frame before it gets memory. Only what is needed
to reach a frame is decoded, within a number of seconds and pixels. Errors after the first frame end the frames, not the
video.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from sploot_server.domain.embedding import UnreadableImage
from sploot_server.domain.image_sizes import Size
from sploot_server.inference.worker_memory import is_out_of_memory

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

CONTAINERS = {"video/mp4": "mov", "video/webm": "matroska"}
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4")
DURATION_S_MAX = 180
MEGAPIXELS_MAX = 10  # of a frame: 4K has 8.8. A decoder keeps up to 17 frames
DECODED_S_MAX = 10.0  # to reach one frame: keyframes are rarely farther apart
DECODED_PIXELS_MAX = 1_000_000_000  # to reach one frame: a few seconds' work
DURATION_UNITS = 1_000_000  # of a container, per second
NO_PICTURES = "The video is damaged or has no pictures."
FRAME_LIMIT = {"max_pixels": str(MEGAPIXELS_MAX * 1_000_000)}


def decode_video(
    path: Path, mime: str, fit: Callable[[int, int], Size], *, with_later_frames: bool
) -> tuple[int, int, Sequence[Image.Image]]:
    """Return the displayed size and the frames in RGB, shrunk by `fit`.

    Raises UnreadableImage, MemoryError or OSError.
    """
    import av  # noqa: PLC0415 - the extra `video`

    options = {**FRAME_LIMIT, "codec_whitelist": ",".join(CODECS)}
    container_format = CONTAINERS[mime]
    try:
        with (
            path.open("rb") as file,
            av.open(file, "r", format=container_format, options=options, metadata_errors="replace") as container,
        ):
            return _decode(container, fit, with_later_frames=with_later_frames)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise  # an I/O error
        detail = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise UnreadableImage(f"The video is damaged or in a form that this version cannot read ({detail}).") from error


def _decode(
    container: "InputContainer", fit: Callable[[int, int], Size], *, with_later_frames: bool
) -> tuple[int, int, Sequence[Image.Image]]:
    stream = _choose_stream(container)
    first = _reach(container, stream, 0.0)
    if first is None:
        raise UnreadableImage(NO_PICTURES)
    frames = [first, *(_later_frames(container, stream, first) if with_later_frames else ())]
    is_turned = first.rotation % 180 == 90
    width, height = (first.height, first.width) if is_turned else (first.width, first.height)
    return width, height, [_finish(frame, fit) for frame in frames]


def _choose_stream(container: "InputContainer") -> "VideoStream":
    """Return the pictures of the video, ready to be decoded. Raises UnreadableImage if they exceed a limit."""
    stream = next(iter(container.streams.video), None)
    if stream is None:
        raise UnreadableImage(NO_PICTURES)
    context = stream.codec_context
    if context.name not in CODECS:
        raise UnreadableImage(f"The video is in the codec {context.name}; those that browsers play are read.")
    if not 0 < context.width * context.height <= MEGAPIXELS_MAX * 1_000_000:
        # Some decoders forget the size when they refuse it.
        size = f"{context.width} x {context.height}" if context.width else "too many, or an unknown number of,"
        raise UnreadableImage(f"The video has {size} pixels; the limit is {MEGAPIXELS_MAX} million pixels.")
    if (duration_s := _duration_s(container)) > DURATION_S_MAX:
        raise UnreadableImage(f"The video lasts {duration_s:,.0f} seconds; the limit is {DURATION_S_MAX} seconds.")
    context.options = FRAME_LIMIT  # a frame may be larger than the file says
    context.thread_count = 1  # the threads of this process each analyze a picture of their own
    return stream


def _duration_s(container: "InputContainer") -> float:
    """Return the duration that the file states, and 0 if it states none, as recordings of browsers do."""
    return max(0, container.duration or 0) / DURATION_UNITS


def _later_frames(
    container: "InputContainer", stream: "VideoStream", first: "av.VideoFrame"
) -> Iterator["av.VideoFrame"]:
    """Decode the middle and the last frame; of a video without a duration, the last one within the limits."""
    start_s, duration_s = first.time or 0.0, _duration_s(container)
    last = first
    for at_s in (start_s + duration_s / 2, start_s + duration_s) if duration_s else (float("inf"),):
        try:
            if duration_s:
                container.seek(int(at_s * DURATION_UNITS))
            frame = _reach(container, stream, at_s)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return
        if frame is not None and frame.pts != last.pts:
            last = frame
            yield frame


def _reach(container: "InputContainer", stream: "VideoStream", at_s: float) -> "av.VideoFrame | None":
    """Decode from here to the frame at a time, and return the last one that the limits let it reach."""
    frame, start_s, pixels = None, None, 0
    for frame in container.decode(stream):
        time_s = frame.time or 0.0
        start_s = time_s if start_s is None else start_s
        pixels += frame.width * frame.height
        if time_s >= at_s or time_s - start_s > DECODED_S_MAX or pixels > DECODED_PIXELS_MAX:
            break
    return frame


def _finish(frame: "av.VideoFrame", fit: Callable[[int, int], Size]) -> Image.Image:
    """Shrink a frame and turn it upright."""
    width, height = fit(frame.width, frame.height)
    image: Image.Image = frame.to_image(width=width, height=height, interpolation="AREA")  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation % 90 == 0 else image
