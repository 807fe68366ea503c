"""What the ONNX models that users add have in common: sessions, tokenizers, vectors and the report of their check."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sploot_server.inference.model_manifest import ModelUnusable

NORM_MIN = 1e-6


def open_session(graph: Path, inputs: list[str], output: str) -> Any:
    from onnxruntime import InferenceSession  # noqa: PLC0415 - only if a model is configured

    from sploot_server.inference.onnx_options import session_options  # noqa: PLC0415 - as above

    try:
        session = InferenceSession(str(graph), session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises nothing narrower
        raise ModelUnusable(f"{graph.name} cannot be opened: {error}.") from error
    for kind, expected, present in (
        ("input", inputs, session.get_inputs()),
        ("output", [output], session.get_outputs()),
    ):
        names = [each.name for each in present]
        if missing := [name for name in expected if name not in names]:
            raise ModelUnusable(f"{graph.name} has no {kind} {', '.join(missing)}; it has {', '.join(names)}.")
    return session


def load_tokenizer(folder: Path, context: int) -> Any:
    """Return the tokenizer of a model, which yields at most `context` tokens. Raises ModelUnusable."""
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - the extra `clip`
    except ImportError as error:
        raise ModelUnusable("Its tokenizer needs a package: run `pip install 'sploot[clip]'`.") from error
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # it raises nothing narrower
        raise ModelUnusable(f"tokenizer.json cannot be read: {error}.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(context)
    return tokenizer


def input_dtype(session: Any, name: str) -> npt.DTypeLike:
    """Return the number type of an input: it differs between exports."""
    dtypes = {"tensor(float16)": "f2", "tensor(float)": "f4", "tensor(int32)": "i4"}
    return dtypes.get(next(each.type for each in session.get_inputs() if each.name == name), "i8")


def scale_to_length_1(vector: npt.NDArray[np.float32], graph: str) -> npt.NDArray[np.float32]:
    """Return the vector in length 1. Raises ModelUnusable if it has none."""
    if not np.isfinite(vector).all():
        raise ModelUnusable(f"{graph} returns numbers that are not finite.")
    scaled: npt.NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), NORM_MIN)
    return scaled


def report_errors(attempts: Sequence[Callable[[], object]]) -> None:
    """Run the checks of a model; exit 1 with a sentence for each error."""
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except ModelUnusable as error:
            errors.append(str(error))
        except Exception as error:  # noqa: BLE001 - reports any error of the runtime
            errors.append(f"The model does not run: {error}.")
    if errors:
        sys.stdout.write(" ".join(errors))
        sys.exit(1)
