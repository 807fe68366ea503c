import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.domain.entities import InvalidInput
from sploot_server.http.multipart import FIELD_BYTES_MAX, UploadForm, parse_tags

BOUNDARY = "b0undary-of-this-test"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(headers: str, data: bytes) -> bytes:
    return f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + data + b"\r\n"


def file_part(data: bytes, name: str = "cat.jpg") -> bytes:
    return part(f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/jpeg', data)


def tags_part(data: bytes) -> bytes:
    return part('Content-Disposition: form-data; name="tags"', data)


END = f"--{BOUNDARY}--\r\n".encode()


def parse(body: bytes, cuts: list[int] | None = None) -> tuple[str, bytes, bytes | None]:
    received = bytearray()
    form = UploadForm(CONTENT_TYPE, received.extend)
    places = [0, *sorted(cuts or []), len(body)]
    for start, end in itertools.pairwise(places):
        form.feed(body[start:end])
    return form.finish(), bytes(received), form.tags


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=8))
def test_chunk_boundaries_do_not_matter(data: bytes, cuts: list[int]) -> None:
    body = file_part(data) + tags_part(b'["a"]') + END
    assert parse(body, [min(cut, len(body)) for cut in cuts]) == ("cat.jpg", data, b'["a"]')


@pytest.mark.parametrize("data", [b"\r\n--b0undary", b"\r\n--", b"--b0undary-of-this-tes", b"\r\n\r\n" * 100, b""])
def test_data_that_resembles_a_boundary_is_kept(data: bytes) -> None:
    assert parse(file_part(data) + END)[1] == data


def test_only_the_first_of_two_files_is_used() -> None:
    assert parse(file_part(b"first", "1.jpg") + file_part(b"second", "2.jpg") + END)[:2] == ("1.jpg", b"first")


def test_a_name_may_be_any_unicode() -> None:
    assert parse(file_part(b"x", "gr\u00fc\u00dfe \u732b.jpg") + END)[0] == "gr\u00fc\u00dfe \u732b.jpg"


@given(st.integers(0, len(file_part(b"data") + END) - 3))
def test_a_truncated_body_is_rejected(length: int) -> None:
    with pytest.raises(InvalidInput, match="the closing boundary is missing"):
        parse((file_part(b"data") + END)[:length])


@pytest.mark.parametrize(
    "body",
    [b"not multipart at all", b"--wrong-boundary\r\n\r\n", part("no colon", b"x") + END, part("x: y\r\n" * 20, b"")],
)
def test_a_malformed_body_is_rejected(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not valid multipart"):
        parse(body)


def test_a_form_without_a_file_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="No file provided"):
        parse(tags_part(b"[]") + END)


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_content_type_without_a_boundary_is_rejected(content_type: str) -> None:
    with pytest.raises(InvalidInput, match="boundary"):
        UploadForm(content_type, bytearray().extend)


def test_a_boundary_that_is_too_long_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="Boundary length"):
        UploadForm(f"multipart/form-data; boundary={'x' * 300}", bytearray().extend)


def test_endless_tags_are_rejected() -> None:
    with pytest.raises(InvalidInput, match="tags are larger than"):
        parse(tags_part(b"x" * (FIELD_BYTES_MAX + 1)))


@pytest.mark.parametrize(
    ("sent", "tags"),
    [
        (None, []),
        (b'["a", "b"]', ["a", "b"]),
        (b"cat", None),
        (b'{"a": 1}', None),
        (b"[1]", None),
        (b'["\\ud800"]', None),
        (b"[" * 100_000, None),
        (b"\xff", None),
    ],
)
def test_tags_are_a_json_array_of_strings_or_none(sent: bytes | None, tags: list[str] | None) -> None:
    assert parse_tags(sent) == tags
