"""Which transport a content is sent with, under the limits of the server."""

from dataclasses import replace

import pytest

from splootd.core.item import Version
from splootd.core.limits import Limits
from splootd.file_reader import Content
from splootd.upload.choose_transport import BUNDLE_FILE_BYTES_MAX, TransportKind, choose_transport
from splootd.upload.transports.tus import TUS_BYTES_MIN

PLAIN = Limits(1 << 40, frozenset({"image/jpeg"}))
FULL = replace(
    PLAIN,
    features={"checkBatch": 50, "bundle": {"files": 8, "bytes": 1 << 20}, "resumable": {"path": "/files"}},
)


def content(size: int, *, mime: str = "image/jpeg", buffered: bool = True) -> Content:
    data = bytes(size) if buffered else None
    return Content(b"/a", Version(size, 0, 0, 0), b"", mime, "jpg", True, data, None if buffered else 3)


@pytest.mark.parametrize(
    ("of", "limits", "kind"),
    [
        (content(BUNDLE_FILE_BYTES_MAX), FULL, TransportKind.BUNDLE),
        (content(BUNDLE_FILE_BYTES_MAX + 1), FULL, TransportKind.SINGLE),
        (content(10), PLAIN, TransportKind.SINGLE),
        (content(10), FULL.without("bundle"), TransportKind.SINGLE),
        (content(10), FULL.without("checkBatch"), TransportKind.SINGLE),
        (
            content(10),
            replace(FULL, features={**FULL.features, "bundle": {"files": 8, "bytes": 10}}),
            TransportKind.SINGLE,
        ),
        (content(TUS_BYTES_MIN, buffered=False), FULL, TransportKind.TUS),
        (content(TUS_BYTES_MIN - 1, buffered=False), FULL, TransportKind.SINGLE),
        (content(TUS_BYTES_MIN, buffered=False), PLAIN, TransportKind.SINGLE),
        (content(BUNDLE_FILE_BYTES_MAX + 1, mime="video/mp4"), FULL, TransportKind.TUS),
        (replace(content(10), data=None), FULL, TransportKind.BY_PATH),
    ],
)
def test_a_content_goes_by_its_size_its_type_and_the_limits(of: Content, limits: Limits, kind: TransportKind) -> None:
    assert choose_transport(of, limits) is kind
