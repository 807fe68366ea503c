"""Text normalization and fuzzy word matching."""

from hypothesis import given
from hypothesis import strategies as st
from sploot_server.domain.text_match import (
    FUZZY_MATCH_SCORE,
    content_words,
    fold_text,
    match_score,
    normalize,
    trigrams,
)

Data = st.DataObject
letters = st.text(st.sampled_from("abcdefgh"), max_size=12)


@given(st.text())
def test_folding_and_normalizing_are_idempotent(text: str) -> None:
    assert fold_text(fold_text(text)) == fold_text(text)
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(), st.text())
def test_spaces_between_words_do_not_matter(left: str, right: str) -> None:
    assert normalize(f"{left} {right}") == normalize(f"{left}. \n{right}")


@given(letters, letters, letters)
def test_a_word_is_found_anywhere_in_a_text_without_spaces(before: str, word: str, after: str) -> None:
    assert match_score(word, before + word + after) == 1.0


@given(letters, st.text(st.sampled_from("abcdefgh"), min_size=4, max_size=12), letters, st.data())
def test_one_typo_in_a_word_of_four_letters_is_tolerated(
    before: str, word: str, after: str, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(word) - 1))
    typo = data.draw(st.sampled_from(["drop", "double", "change", "swap"]))
    typed = {
        "drop": word[:index] + word[index + 1 :],
        "double": word[:index] + word[index] + word[index:],
        "change": word[:index] + "z" + word[index + 1 :],
        "swap": word[:index] + word[index : index + 2][::-1] + word[index + 2 :],
    }[typo]
    if len(typed) >= 4:
        assert match_score(typed, before + word + after) >= FUZZY_MATCH_SCORE


@given(st.text("abc", min_size=4, max_size=12), st.text("abcd", max_size=20))
def test_a_fuzzy_match_agrees_with_the_edit_distance(word: str, text: str) -> None:
    if len(word) < 8:
        assert (match_score(word, text) > 0) == (edits(word, text) <= 1)
    elif match_score(word, text) > 0:
        assert edits(word, text) <= 2


def edits(word: str, text: str) -> int:
    """Return the fewest edits from `word` to a substring of `text`; a swap is one edit (full matrix, Sellers 1980)."""
    before: list[int] = []
    row = [0] * (len(text) + 1)
    for i, letter in enumerate(word, 1):
        last_but_one, before, row = before, row, [i]
        for j, other in enumerate(text, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == text[j - 2] and word[i - 2] == other:
                cost = min(cost, last_but_one[j - 2] + 1)
            row.append(cost)
    return min(row)


def test_short_words_must_match_exactly() -> None:
    assert match_score("cat", "thecotsleeps") == 0.0


def test_other_words_do_not_match() -> None:
    assert match_score("mortgage", normalize("My cat at 4 AM practising for the Olympics")) == 0.0


def test_accents_and_case_are_removed() -> None:
    assert normalize("Réunion à HUIT heures!") == "reunionahuitheures"


def test_stop_words_are_removed() -> None:
    assert content_words("When the CODE works, the code doesn't!") == ["code", "works", "doesnt"]


def test_a_query_of_stop_words_keeps_them() -> None:
    assert content_words("to be or not to be") == ["to", "be", "or", "not"]


def test_trigrams_stay_within_words() -> None:
    assert trigrams(["code", "in", "works"]) == ["cod", "ode", "wor", "ork", "rks"]
