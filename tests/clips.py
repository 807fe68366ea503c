"""Tiny real videos, encoded by the library that decodes them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

av = pytest.importorskip("av", reason="needs the extra `video`")

CODEC_OPTIONS = {"libvpx": {"deadline": "realtime", "cpu-used": "8"}, "libx264": {"preset": "ultrafast"}}
TIME_BASE = Fraction(1, 1000)


def save_clip(path: Path, frames: Sequence[Image.Image], codec: str = "libx264", *, frame_ms: int = 100) -> Path:
    """Save the frames, the first of which states the size; each of another size has an encoder of its own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(1000, frame_ms), options=CODEC_OPTIONS.get(codec))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt, stream.time_base = "yuv420p", TIME_BASE
        encoder = stream.codec_context
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number * frame_ms, TIME_BASE
            if image.size != (encoder.width, encoder.height):
                container.mux(_of_stream(encoder.encode(None), stream))
                encoder = _new_encoder(codec, image)
            container.mux(_of_stream(encoder.encode(frame), stream))
        container.mux(_of_stream(encoder.encode(None), stream))
    return path


def _new_encoder(codec: str, image: Image.Image) -> "av.VideoCodecContext":
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = image.size
    encoder.pix_fmt, encoder.time_base, encoder.options = "yuv420p", TIME_BASE, CODEC_OPTIONS[codec]
    return encoder


def _of_stream(packets: Sequence["av.Packet"], stream: "av.VideoStream") -> Sequence["av.Packet"]:
    for packet in packets:
        packet.stream = stream
    return packets
