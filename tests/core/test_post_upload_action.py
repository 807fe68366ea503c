"""Parsing of post-upload actions."""

import pytest

from splootd.core.post_upload_action import PostUploadAction


@pytest.mark.parametrize("text", [b"trash", b"move:/", b"move:/archive", b"move:/a b/\xff", b"move:/move:/x"])
def test_an_action_serializes_to_its_text(text: bytes) -> None:
    action = PostUploadAction.parse(text)
    assert action is not None
    assert action.serialized == text
    assert PostUploadAction.parse(action.serialized) == action


def test_keep_is_no_action() -> None:
    assert PostUploadAction.parse(b"keep") is None


@pytest.mark.parametrize("text", [b"", b"Trash", b"delete", b"move", b"move:", b"move:archive", b"move:/a\0b"])
def test_any_other_text_raises(text: bytes) -> None:
    with pytest.raises(ValueError):
        PostUploadAction.parse(text)
