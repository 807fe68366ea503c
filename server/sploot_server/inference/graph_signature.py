"""Inputs and outputs of ONNX graphs, read in a process of its own: `python -m sploot_server.inference.graph_signature`.

Prints a JSON list with one object per graph: {"inputs": {NAME: SHAPE}, "outputs": {NAME: SHAPE}}. A shape is a list of
sizes; one that is not fixed is null or a name.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sploot_server.inference.model_manifest import CHECK_S_MAX, ModelUnusable

Signature = Mapping[str, Mapping[str, Sequence[Any]]]


def read_signatures(graphs: Sequence[Path]) -> Sequence[Signature]:
    """Return the inputs and outputs of each graph. Raises ModelUnusable if one cannot be opened."""
    command = [sys.executable, "-P", "-m", "sploot_server.inference.graph_signature", *map(str, graphs)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S_MAX)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(f"Opening {graphs[0].name} took longer than {CHECK_S_MAX:.0f} s.") from error
    if result.returncode != 0:
        reason = (result.stderr.strip() or f"exit code {result.returncode}").rpartition("\n")[2][-300:]
        raise ModelUnusable(f"{' or '.join(graph.name for graph in graphs)} cannot be opened: {reason}")
    signatures: Sequence[Signature] = json.loads(result.stdout)
    return signatures


def main() -> None:
    """Print the signatures of the graphs named on the command line."""
    from onnxruntime import InferenceSession  # noqa: PLC0415 - only this process loads it

    from sploot_server.inference.onnx_options import session_options  # noqa: PLC0415 - as above

    signatures = []
    for graph in sys.argv[1:]:
        session = InferenceSession(graph, session_options(), providers=["CPUExecutionProvider"])
        sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
        signatures.append({side: {each.name: each.shape for each in values} for side, values in sides.items()})
    sys.stdout.write(json.dumps(signatures))


if __name__ == "__main__":
    main()
