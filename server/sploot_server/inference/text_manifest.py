"""The manifest of a text encoder that a user added: a folder with an ONNX graph and its tokenizer.

manifest.json    describes the other files: see `TextManifest`
model.onnx       token ids to a vector for each token, or to one for the text
tokenizer.json   in the format of the library `tokenizers`

{"name": "all-mpnet-base-v2", "dim": 768, "context": 384, "output": "last_hidden_state", "pooling": "mean"}
"""

from dataclasses import dataclass
from pathlib import Path

from sploot_server.inference.model_manifest import (
    CONTEXT_MAX,
    DIM_MAX,
    MANIFEST,
    ModelUnusable,
    open_manifest,
)

GRAPH = "model.onnx"
FILES = (GRAPH, "tokenizer.json")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # the inputs that a graph may have
POOLINGS = ("mean", "cls", "none")


@dataclass(frozen=True, slots=True)
class TextManifest:
    """A validated manifest.

    The graph takes up to `context` tokens. `pooling` is how the vectors of the tokens become one: `mean`, `cls` (the
    first one), or `none` if the graph does it. `revision` changes with the files.
    """

    name: str
    dim: int
    context: int
    output: str
    pooling: str
    revision: str

    @classmethod
    def read(cls, folder: Path) -> "TextManifest":
        """Read and validate a manifest. Raises ModelUnusable. `check_model` also runs the graph."""
        fields, revision = open_manifest(folder, FILES)
        manifest = cls(
            name=fields.text("name"),
            dim=fields.integer("dim", 1, DIM_MAX),
            context=fields.integer("context", 1, CONTEXT_MAX),
            output=fields.text("output"),
            pooling=fields.choice("pooling", POOLINGS),
            revision=revision,
        )
        if fields.errors:
            raise ModelUnusable(f"{folder / MANIFEST}: {' '.join(fields.errors)}")
        return manifest
