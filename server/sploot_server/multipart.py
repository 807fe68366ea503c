"""multipart/form-data, pushed piece by piece: each part goes straight on to its sink, nothing is spooled.

Only two fields are known, as in Sploot: `file` and `tags`. Others are skipped.
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

Sink = Callable[[bytes], None]


class Form:
    """Feed it the body. A class of its own says with `_part` where the data of each part goes.

    Raises Invalid as soon as the body cannot be right.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Invalid(f"{BROKEN}: the Content-Type must be multipart/form-data with a boundary.")
        self.ended = False
        self._field = self._value = b""
        self._disposition = b""
        self._take: Sink = _skip
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

    def end(self) -> None:
        """To be called at the end of the body. Raises Invalid if the form was cut off."""
        if not self.ended:
            raise Invalid(f"{BROKEN}: it ends before its closing boundary.")

    def _part(self, name: bytes, filename: str | None) -> Sink | None:
        """Where the data of the part that begins now goes, None to skip it. `filename` is None for a plain field."""
        raise NotImplementedError

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
        filename = options.get(b"filename")
        name = None if filename is None else filename.decode("utf-8", "replace")
        self._take = self._part(options.get(b"name", b""), name) or _skip

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._take(data[start:end])

    def _on_end(self) -> None:
        self.ended = True


class UploadForm(Form):
    """A form with one file, the first one, whose bytes go to `sink`, and its tags, before or after it."""

    def __init__(self, content_type: str, sink: Sink) -> None:
        super().__init__(content_type)
        self.filename: str | None = None
        self._sink = sink
        self._tags: TagsField | None = None

    @property
    def tags(self) -> bytes | None:
        return None if self._tags is None else self._tags.data

    def finish(self) -> str:
        """The name of the file, at the end of the body. Raises Invalid if the form was cut off or had no file."""
        self.end()
        if self.filename is None:
            raise Invalid("No file provided")
        return self.filename

    def _part(self, name: bytes, filename: str | None) -> Sink | None:
        if name == b"file" and self.filename is None:
            self.filename = filename or ""
            return self._sink
        if name == b"tags" and filename is None and self._tags is None:
            self._tags = TagsField()
            return self._tags.add
        return None


class BundleForm(Form):
    """A form with any number of files, each after its own tags, if it has any.

    `next_file` is called at the beginning of each file, with its name and the `tags` before it, and gives its sink.
    """

    def __init__(self, content_type: str, next_file: Callable[[str, bytes | None], Sink]) -> None:
        super().__init__(content_type)
        self._next_file = next_file
        self._tags: TagsField | None = None

    def _part(self, name: bytes, filename: str | None) -> Sink | None:
        if name == b"file":
            tags, self._tags = self._tags, None
            return self._next_file(filename or "", None if tags is None else tags.data)
        if name == b"tags" and filename is None:
            self._tags = TagsField()
            return self._tags.add
        return None


class TagsField:
    """The bytes of a `tags` field."""

    def __init__(self) -> None:
        self.data = b""

    def add(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > TAGS_BYTES_MAX:
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
