from hypothesis import given
from hypothesis import strategies as st
from scripted import Request, parsed_form

from splootd.remote.multipart import Part, frame


@given(st.binary(max_size=500), st.lists(st.text(max_size=50), max_size=20))
def test_what_is_framed_comes_out_again(content: bytes, tags: list[str]) -> None:
    form = frame([Part("0123456789ab.png", "image/png", tags)])
    body = form.before[0] + content + form.after
    assert len(body) == form.size + len(content)
    request = Request("upload", "POST", "/api/upload", {"content-type": form.content_type}, body)
    assert parsed_form(request) == (content, "image/png", tags)


def test_the_form_is_to_the_byte_what_sploot_wants() -> None:
    form = frame([Part("a.jpg", "image/jpeg", ["cat"])], boundary="line")
    assert form.before[0] == (
        b"--line\r\n"
        b'Content-Disposition: form-data; name="tags"\r\n\r\n'
        b'["cat"]\r\n'
        b"--line\r\n"
        b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n"
    )
    assert form.after == b"\r\n--line--\r\n"


def test_boundaries_are_long_and_never_the_same() -> None:
    types = {frame([Part("a.jpg", "image/jpeg")]).content_type for _ in range(100)}
    assert len(types) == 100
    assert {len(each.partition("boundary=")[2]) for each in types} == {32}
