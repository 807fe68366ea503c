"""The multipart encoder: forms that undici accepts, to the byte."""

from hypothesis import given
from hypothesis import strategies as st
from scripted_sploot import Request, parse_form

from splootd.remote.multipart import PartHeaders, build_frame


@given(st.binary(max_size=500), st.lists(st.text(max_size=50), max_size=20))
def test_a_form_is_parsed_to_the_same_content_and_tags(content: bytes, tags: list[str]) -> None:
    form = build_frame([PartHeaders("0123456789ab.png", "image/png", tags)])
    body = form.before[0] + content + form.after
    assert len(body) == form.size + len(content)
    request = Request("upload", "POST", "/api/upload", {"content-type": form.content_type}, body)
    assert parse_form(request) == (content, "image/png", tags)


def test_the_form_has_exactly_the_bytes_that_sploot_requires() -> None:
    form = build_frame([PartHeaders("a.jpg", "image/jpeg", ["cat"])], boundary="part")
    assert form.before[0] == (
        b"--part\r\n"
        b'Content-Disposition: form-data; name="tags"\r\n\r\n'
        b'["cat"]\r\n'
        b"--part\r\n"
        b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n"
    )
    assert form.after == b"\r\n--part--\r\n"


def test_boundaries_are_long_and_unique() -> None:
    types = {build_frame([PartHeaders("a.jpg", "image/jpeg")]).content_type for _ in range(100)}
    assert len(types) == 100
    assert {len(each.partition("boundary=")[2]) for each in types} == {32}
