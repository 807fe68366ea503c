"""Choose how a content is sent to the server."""

import enum

from splootd.core.limits import Limits
from splootd.file_reader import Content
from splootd.upload.transports.tus import TUS_BYTES_MIN, get_tus_path

BUNDLE_FILE_BYTES_MAX = 64 * 1024  # up to this size sending a file costs less than its request
FORM_OVERHEAD_BYTES_MAX = 8 * 1024  # of the form, per file


class TransportKind(enum.Enum):
    """The transports."""

    BY_PATH = enum.auto()
    BUNDLE = enum.auto()
    TUS = enum.auto()
    SINGLE = enum.auto()


def choose_transport(content: Content, limits: Limits) -> TransportKind:
    """Return the transport for a content under the server's limits. A content that was only hashed goes by path.

    Large files are sent in chunks, and so are all videos: they are searched by their original name, which only tus
    transmits.
    """
    if content.data is None and content.descriptor is None:
        return TransportKind.BY_PATH
    if (
        limits.check_batch_max
        and limits.bundle_files_max
        and content.data is not None
        and content.size <= BUNDLE_FILE_BYTES_MAX
        and content.size + FORM_OVERHEAD_BYTES_MAX <= limits.bundle_bytes_max
    ):
        return TransportKind.BUNDLE
    is_chunked = content.size >= TUS_BYTES_MIN or content.mime.startswith("video/")
    return TransportKind.TUS if is_chunked and get_tus_path(limits) is not None else TransportKind.SINGLE
