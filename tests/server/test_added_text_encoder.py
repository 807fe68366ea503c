"""Text encoders that users add, tested with a tiny real graph: a contract is an elephant."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sploot_server.inference.generic_queries import GENERIC_QUERIES
from sploot_server.inference.installed_encoders import DIMS, USE
from sploot_server.inference.model_folder import check_model
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.inference.onnx_text_encoder import TRANSLATIONS, OnnxTextEncoder
from sploot_server.inference.text_encoder import TextEncoder, prepare_text
from sploot_server.inference.text_manifest import TextManifest
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.search import CLOSE_TEXT_MIN
from sploot_server.models.export_manifest import write_manifest
from sploot_server.models.fetch_model import describe_model
from sploot_server.models.model_files import choose_files
from tiny_models import save_text_encoder

MEANINGS = ("elephant contract", "lion music")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sploot"


def install(source: Path, folder: Path) -> Path:
    """Copy the chosen files of an export and write their manifest, as `model add` does."""
    folder.mkdir()
    for file in describe_model(str(source)).files:
        (folder / file.name).write_bytes(Path(file.location).read_bytes())
    write_manifest(folder, "tiny")
    return folder


def load(folder: Path) -> OnnxTextEncoder:
    # The first session of a process sets a processor flag of its thread (onnx_options.py), so it gets a thread here.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(OnnxTextEncoder, folder).result()


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return install(save_text_encoder(tmp_path / "source", MEANINGS), tmp_path / "encoder")


def test_words_of_one_meaning_have_the_same_vector(encoder: Path) -> None:
    model = load(encoder)
    elephant, contract, lion = (model.embed(f"the {word} sleeps") for word in ("elephant", "contract", "lion"))
    assert np.linalg.norm(elephant) == pytest.approx(1)
    assert elephant @ contract == pytest.approx(1)
    assert elephant @ lion < 0.9
    assert (model.embed("lion " * 16 + "elephant") == model.embed("lion " * 16)).all()  # max_seq_length
    assert not model.embed("").any()


def test_pooling_is_what_the_repository_says(tmp_path: Path) -> None:
    source = save_text_encoder(tmp_path / "source", MEANINGS)
    (source / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    model = load(install(source, tmp_path / "encoder"))
    assert (model.embed("elephant lion lion") == model.embed("elephant")).all()


def test_an_encoder_knows_other_languages_if_translations_are_nearest_to_each_other(
    encoder: Path, tmp_path: Path
) -> None:
    meanings = [
        " ".join(sorted({word for each in sentences for word in each.lower().replace("'", " ").split()} - {"again"}))
        for sentences in zip(*TRANSLATIONS, strict=True)
    ]
    multilingual = install(save_text_encoder(tmp_path / "other", _distinct(meanings)), tmp_path / "multilingual")
    assert (load(encoder).is_multilingual, load(multilingual).is_multilingual) == (False, True)
    german = "die Katze bezahlt keine Miete"
    added_dim = TextManifest.read(multilingual).dim
    for folder, knows in ((encoder, False), (multilingual, True)):
        vector = np.frombuffer(TextEncoder(folder).query(german).vector, "<f4")
        assert vector[: -DIMS[USE]].any() == knows
    assert WorkerEmbedder(threads=1, idle_s=1, models=[multilingual]).model.dim == added_dim + DIMS[USE]


def _distinct(meanings: list[str]) -> list[str]:
    """Return the meanings with each word in one of them only."""
    seen: set[str] = set()
    return [" ".join(word for word in each.split() if not (word in seen or seen.add(word))) for each in meanings]


def test_the_generic_queries_are_embedded_by_the_added_encoder_once(encoder: Path, cache: Path) -> None:
    model = load(encoder)
    assert np.allclose(model.generic[:5], [model.embed(prepare_text(each)) for each in GENERIC_QUERIES[:5]])
    [stored] = cache.glob("text-encoder-*")
    before = stored.stat().st_mtime_ns
    assert (load(encoder).generic == model.generic).all()
    assert stored.stat().st_mtime_ns == before


def test_a_query_is_compared_with_what_it_gets_from_any_text_by_the_added_encoder(encoder: Path) -> None:
    """Nearly all generic queries have no word that the tiny encoder knows: it puts every such text in one place."""
    added, built_in = TextEncoder(encoder), TextEncoder()
    known, unknown = "elephant contract", "the forecast was wrong"
    assert added.query(unknown).background > built_in.query(unknown).background + 0.5
    assert added.query(known).background < 0.2
    caption = added.passage("contract")
    query = added.query("elephant")
    assert caption is not None
    cosine = float(np.frombuffer(query.vector, "<f4") @ np.frombuffer(caption.vector, "<f4"))
    assert cosine - caption.hubness - query.background > CLOSE_TEXT_MIN + 0.3
    nonsense = added.query("the weather in october")
    cosine = float(np.frombuffer(nonsense.vector, "<f4") @ np.frombuffer(caption.vector, "<f4"))
    assert cosine - caption.hubness - nonsense.background < 0


def test_each_text_encoder_has_vectors_of_its_own(encoder: Path) -> None:
    before, after = (WorkerEmbedder(threads=1, idle_s=1, models=models).model for models in ([], [encoder]))
    assert "/tiny-" in after.name
    assert "minilm" in before.name
    assert "minilm" not in after.name


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (("model.onnx", "model_quint8_avx2.onnx", "model_O4.onnx"), "model_quint8_avx2.onnx"),
        (("model.onnx", "model_quantized.onnx", "model_qint8_avx512.onnx"), "model_quantized.onnx"),
        (("model.onnx", "model_qint8_avx512_vnni.onnx"), "model_qint8_avx512_vnni.onnx"),
        (("model.onnx", "model_O4.onnx"), "model.onnx"),
    ],
)
def test_a_graph_in_8_bits_is_chosen(present: tuple[str, ...], chosen: str) -> None:
    names = [*(f"onnx/{name}" for name in present), "config.json", "tokenizer.json", "1_Pooling/config.json"]
    files = choose_files([*names, "pytorch_model.bin", "README.md"])
    assert files["model.onnx"] == f"onnx/{chosen}"
    assert files["pooling.json"] == "1_Pooling/config.json"
    assert "pytorch_model.bin" not in files.values()


def test_a_folder_without_a_graph_is_refused() -> None:
    with pytest.raises(ModelUnusable, match=r"^This is not a text encoder in ONNX: it has no onnx/model.onnx\.$"):
        choose_files(["config.json", "tokenizer.json", "model.safetensors"])


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "a module that is not supported: Dense"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling is not supported: pooling_mode_max"),
        ("config.json", [], "config.json is not a JSON object"),
    ],
)
def test_an_encoder_that_needs_more_is_refused_in_words(
    tmp_path: Path, file: str, content: object, sentence: str
) -> None:
    source = save_text_encoder(tmp_path / "source", MEANINGS)
    (source / file).write_text(json.dumps(content))
    with pytest.raises(ModelUnusable, match=sentence):
        install(source, tmp_path / "encoder")


def test_a_damaged_encoder_is_refused_in_words(encoder: Path) -> None:
    manifest = json.loads((encoder / "manifest.json").read_text())
    for name, value, sentence in (
        ("pooling", "max", "pooling must be one of mean, cls, none."),
        ("output", "logits", "has no output logits; it has last_hidden_state."),
        ("dim", 4, "which does not match its manifest."),
    ):
        (encoder / "manifest.json").write_text(json.dumps({**manifest, name: value}))
        with pytest.raises(ModelUnusable, match=sentence):
            check_model(encoder)
    (encoder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnusable, match=r"has no tokenizer\.json"):
        check_model(encoder)
