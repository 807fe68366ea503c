from hypothesis import given
from hypothesis import strategies as st
from sploot_server.words import NEAR, content_words, fold, presence, squeeze, trigrams

Data = st.DataObject
letters = st.text(st.sampled_from("abcdefgh"), max_size=12)


@given(st.text())
def test_folding_and_squeezing_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert squeeze(squeeze(text)) == squeeze(text)


@given(st.text(), st.text())
def test_spaces_between_words_do_not_matter(left: str, right: str) -> None:
    assert squeeze(f"{left} {right}") == squeeze(f"{left}. \n{right}")


@given(letters, letters, letters)
def test_a_word_is_found_wherever_it_is_glued_in(before: str, word: str, after: str) -> None:
    assert presence(word, before + word + after) == 1.0


@given(letters, st.text(st.sampled_from("abcdefgh"), min_size=4, max_size=12), letters, st.data())
def test_one_slip_in_a_word_of_four_letters_is_forgiven(
    before: str, word: str, after: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(word) - 1))
    slip = data.draw(st.sampled_from(["drop", "double", "change", "swap"]))
    typed = {
        "drop": word[:place] + word[place + 1 :],
        "double": word[:place] + word[place] + word[place:],
        "change": word[:place] + "z" + word[place + 1 :],
        "swap": word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
    }[slip]
    if len(typed) >= 4:
        assert presence(typed, before + word + after) >= NEAR


@given(st.text("abc", min_size=4, max_size=12), st.text("abcd", max_size=20))
def test_a_word_is_near_by_the_edits_it_takes(word: str, text: str) -> None:
    if len(word) < 8:
        assert (presence(word, text) > 0) == (edits(word, text) <= 1)
    elif presence(word, text) > 0:
        assert edits(word, text) <= 2


def edits(word: str, text: str) -> int:
    """The fewest that turn `word` into some part of `text`, swaps counted as one: the whole table (Sellers 1980)."""
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


def test_short_words_must_be_exact() -> None:
    assert presence("cat", "thecotsleeps") == 0.0


def test_other_words_are_not_near() -> None:
    assert presence("mortgage", squeeze("My cat at 4 AM practising for the Olympics")) == 0.0


def test_accents_and_case_are_gone() -> None:
    assert squeeze("Réunion à HUIT heures!") == "reunionahuitheures"


def test_only_words_that_say_something_count() -> None:
    assert content_words("When the CODE works, the code doesn't!") == ["code", "works", "doesnt"]


def test_a_query_of_stop_words_keeps_them() -> None:
    assert content_words("to be or not to be") == ["to", "be", "or", "not"]


def test_trigrams_stay_within_words() -> None:
    assert trigrams(["code", "in", "works"]) == ["cod", "ode", "wor", "ork", "rks"]
