"""multipart/form-data, pushed piece by piece: the file goes straight on to its sink, nothing is spooled.

Only two fields are known, as in Sploot: `file` (the first one counts) and `tags`. Others are skipped.
"""

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sploot_server.bodies import parse_json
from sploot_server.model import Invalid

TAGS_BYTES_MAX = 16 * 1024
HEADER_COUNT_MAX = 16
HEADER_BYTES_MAX = 4 * 1024
BROKEN = "The upload is not valid multipart/form-data"


class UploadForm:
    """Feed it the body; `filename` and `tags` are set as they are met.

    `sink` is called with each piece of the file. Raises Invalid as soon as the body cannot be right.
    """

    def __init__(self, content_type: str, sink: Callable[[bytes], None]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Invalid(f"{BROKEN}: the Content-Type must be multipart/form-data with a boundary.")
        self.filename: str | None = None
        self.tags: bytes | None = None
        self.ended = False
        self._sink = sink
        self._field = self._value = b""
        self._disposition = b""
        self._take: Callable[[bytes], None] = _skip
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
            raise Invalid(f"{BROKEN}: {error}.") from error

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Invalid(f"{BROKEN}: {error}.") from error

    def finish(self) -> str:
        """The name of the file, at the end of the body. Raises Invalid if the form was cut off or had no file."""
        if not self.ended:
            raise Invalid(f"{BROKEN}: it ends before its closing boundary.")
        if self.filename is None:
            raise Invalid("No file provided")
        return self.filename

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._take = _skip

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name == b"file" and self.filename is None:
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self._take = self._sink
        elif name == b"tags" and b"filename" not in options and self.tags is None:
            self.tags = b""
            self._take = self._add_to_tags

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._take(data[start:end])

    def _on_end(self) -> None:
        self.ended = True

    def _add_to_tags(self, data: bytes) -> None:
        assert self.tags is not None
        self.tags += data
        if len(self.tags) > TAGS_BYTES_MAX:
            raise Invalid(f"The tags take more than {TAGS_BYTES_MAX // 1024} KB.")


def parse_tags(field: bytes | None) -> list[str] | None:
    """The `tags` of a form: a JSON array of strings. None if it is anything else, which Sploot lets pass."""
    if field is None:
        return []
    try:
        tags = parse_json(field)
    except ValueError:
        return None
    return tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else None


def _skip(data: bytes) -> None:
    pass
