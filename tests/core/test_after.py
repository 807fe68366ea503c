import pytest

from splootd.core.after import After


@pytest.mark.parametrize("word", [b"trash", b"move:/", b"move:/shelf", b"move:/a b/\xff", b"move:/move:/x"])
def test_a_wish_is_what_its_word_says(word: bytes) -> None:
    after = After.of(word)
    assert after is not None
    assert after.word == word
    assert After.of(after.word) == after


def test_to_keep_is_no_wish() -> None:
    assert After.of(b"keep") is None


@pytest.mark.parametrize("word", [b"", b"Trash", b"delete", b"move", b"move:", b"move:shelf", b"move:/a\0b"])
def test_any_other_word_is_refused(word: bytes) -> None:
    with pytest.raises(ValueError):
        After.of(word)
