"""Push parser for multipart/form-data (RFC 7578): each part is written to its sink as it arrives, without spooling.

It reads the two fields that Sploot has, `file` and `tags`, and `originalName`, and skips others. The number and size of
part headers and the size of these fields are limited, because they are held in memory; the caller limits the size of
the whole body.
"""

from collections.abc import Callable, Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sploot_server.domain.entities import InvalidInput
from sploot_server.http.request_body import parse_json

FIELD_BYTES_MAX = 16 * 1024
HEADER_COUNT_MAX = 16
HEADER_BYTES_MAX = 4 * 1024
FIELD_LABELS = {b"tags": "The tags are", b"originalName": "The original name is"}
MALFORMED = "The upload is not valid multipart/form-data"

Sink = Callable[[bytes], None]


class MultipartForm:
    """Parser of one form. Subclasses override `_open_sink` to choose the sink of each part.

    Raises InvalidInput at the first chunk that is malformed.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidInput(f"{MALFORMED}: the Content-Type must be multipart/form-data with a boundary.")
        self.ended = False
        self._field = self._value = b""
        self._disposition = b""
        self._current_sink: Sink = _ignore
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
                max_header_count=HEADER_COUNT_MAX,
                max_header_size=HEADER_BYTES_MAX,
            )
        except FormParserError as error:
            raise InvalidInput(f"{MALFORMED}: {error}.") from error

    def feed(self, data: bytes) -> None:
        """Parse the next chunk. Raise InvalidInput."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidInput(f"{MALFORMED}: {error}.") from error

    def end(self) -> None:
        """Check the form at the end of the body. Raise InvalidInput if the closing boundary is missing.

        Without this check, a file whose upload broke off would be stored truncated.
        """
        if not self.ended:
            raise InvalidInput(f"{MALFORMED}: the closing boundary is missing.")

    def _open_sink(self, name: bytes, filename: str | None) -> Sink | None:
        """Return the sink of the next part, or None to skip it. `filename` is None for a field without a file."""
        raise NotImplementedError

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._current_sink = _ignore

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]  # called more than once if a header is split across chunks

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        filename = options.get(b"filename")
        name = None if filename is None else filename.decode("utf-8", "replace")
        self._current_sink = self._open_sink(options.get(b"name", b""), name) or _ignore

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._current_sink(data[start:end])

    def _on_end(self) -> None:
        self.ended = True


class UploadForm(MultipartForm):
    """Form with one file, written to `sink`, and its tags before or after it. Further files are skipped."""

    def __init__(self, content_type: str, sink: Sink) -> None:
        super().__init__(content_type)
        self.filename: str | None = None
        self._sink = sink
        self._fields: dict[bytes, bytearray] = {}

    @property
    def tags(self) -> bytes | None:
        return _get_tags(self._fields)

    def finish(self) -> str:
        """Return the file name at the end of the body. Raise InvalidInput if the form is truncated or has no file."""
        self.end()
        if self.filename is None:
            raise InvalidInput("No file provided")
        return _decode_name(self._fields) or self.filename

    def _open_sink(self, name: bytes, filename: str | None) -> Sink | None:
        if name == b"file" and self.filename is None:
            self.filename = filename or ""
            return self._sink
        return _open_field(self._fields, name) if filename is None and name not in self._fields else None


class BundleForm(MultipartForm):
    """Form with any number of files, each preceded by its own optional tags and original name.

    `open_file_sink` is called at the start of each file, with its name and the `tags` before it, and returns its sink.
    """

    def __init__(self, content_type: str, open_file_sink: Callable[[str, bytes | None], Sink]) -> None:
        super().__init__(content_type)
        self._open_file_sink = open_file_sink
        self._fields: dict[bytes, bytearray] = {}  # those before the next file

    def _open_sink(self, name: bytes, filename: str | None) -> Sink | None:
        if name == b"file":
            fields, self._fields = self._fields, {}
            return self._open_file_sink(_decode_name(fields) or filename or "", _get_tags(fields))
        return _open_field(self._fields, name) if filename is None else None


def _open_field(fields: dict[bytes, bytearray], name: bytes) -> Sink | None:
    """Return a sink that stores a field of a file under its name; it raises InvalidInput beyond the limit."""
    if name not in FIELD_LABELS:
        return None
    data = fields[name] = bytearray()

    def add(piece: bytes) -> None:
        data.extend(piece)
        if len(data) > FIELD_BYTES_MAX:
            raise InvalidInput(f"{FIELD_LABELS[name]} larger than {FIELD_BYTES_MAX // 1024} KB.")

    return add


def _get_tags(fields: Mapping[bytes, bytearray]) -> bytes | None:
    return bytes(fields[b"tags"]) if b"tags" in fields else None


def _decode_name(fields: Mapping[bytes, bytearray]) -> str:
    return fields.get(b"originalName", b"").decode("utf-8", "replace")


def parse_tags(field: bytes | None) -> list[str] | None:
    """Parse the `tags` of a form, a JSON array of strings. Return None for anything else, which Sploot ignores."""
    if field is None:
        return []
    try:
        tags = parse_json(field)
    except ValueError:
        return None
    return tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else None


def _ignore(data: bytes) -> None:
    pass
