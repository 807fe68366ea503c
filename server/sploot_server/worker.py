"""The worker process: `python -m sploot_server.worker`. JSON lines in on standard input, JSON lines out.

    {"id": 1, "read": "/path"}   ->  {"id": 1, "text": "...", "width": 1, "height": 1,
                                      "vector": B, "picture": B, "look": B}      B: base64, or null
    {"id": 2, "query": "text"}   ->  {"id": 2, "text": B, "picture": B}
    {"id": 4, "still": "/path", "target": "/path", "side_px": 256}   ->  {"id": 4}
    what failed                  ->  {"id": 3, "unreadable": "sentence"}  or  {"id": 3, "error": "text"}

The first line out is {"ready": true}. It opens no database, and ends when its input ends.
"""

import argparse
import base64
import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from sploot_server.embedding import Reading, Unreadable

NICENESS = 10
OOM_SCORE = "500"  # if memory runs out, this process goes first


def main() -> None:
    """Load, say so, and serve until the end of input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", action="store_true", help="read pictures too, in the background's time")
    parser.add_argument("--stills", action="store_true", help="make thumbnails, and nothing else")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, help="folder of a model that knows pictures: see manifest.py")
    arguments = parser.parse_args()
    answers = _own_stdout()
    if arguments.pictures:
        _step_back()
    with contextlib.suppress(BrokenPipeError):  # the server has ended: nobody waits for this one any more
        answering = _stills if arguments.stills else Models(arguments.model, pictures=arguments.pictures).answer
        Service(answers, answering).serve(sys.stdin, arguments.threads)
    os._exit(0)  # do not wait for what nobody waits for


class Service:
    """Answers requests on as many threads as there are pictures to be read at once."""

    def __init__(self, answers: TextIO, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answers = answers
        self._answer = answer
        self._lock = threading.Lock()

    def serve(self, requests: TextIO, threads: int) -> None:
        waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()  # the other side sends no more than it awaits
        for _ in range(threads):
            threading.Thread(target=self._work, args=(waiting,), daemon=True).start()
        self._say({"ready": True})
        for line in requests:
            waiting.put(json.loads(line))

    def _work(self, waiting: "queue.SimpleQueue[dict[str, Any]]") -> None:
        while True:
            request = waiting.get()
            try:
                answer = self._answer(request)
            except Unreadable as error:
                answer = {"unreadable": str(error)}
            except Exception as error:  # noqa: BLE001 - told to the other side, which decides about another try
                answer = {"error": f"{type(error).__name__}: {error}"}
            self._say({"id": request["id"], **answer})

    def _say(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._answers.write(json.dumps(answer) + "\n")
            self._answers.flush()


class Models:
    """Those for pictures, or those for queries."""

    def __init__(self, model: Path | None, *, pictures: bool) -> None:
        self._meaning = _meaning()
        self._reader = self._textual = None
        if pictures:
            from sploot_server.reading import Reader  # noqa: PLC0415 - a second and 200 MB that queries do not need

            self._reader = Reader(self._meaning, _visual(model))
        elif model is not None:
            from sploot_server.clip import Textual  # noqa: PLC0415 - only where there is such a model

            self._textual = Textual(model)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"read": str(path)} if self._reader is not None:
                return _packed(self._reader.read(Path(path)))
            case {"query": str(text)} if self._reader is None:
                meaning = self._meaning.query(text) if self._meaning else None
                return {
                    "text": _base64(meaning),
                    "picture": _base64(self._textual.embed(text) if self._textual else None),
                }
        raise ValueError("This worker does not do that.")


def _stills(request: dict[str, Any]) -> dict[str, Any]:
    from sploot_server.stills import still  # noqa: PLC0415 - only in the worker that makes them

    still(Path(request["still"]), Path(request["target"]), request["side_px"])
    return {}


def _meaning() -> Any:
    """None where no model can be loaded: pictures are then found by their words alone."""
    try:
        from sploot_server.meaning import Meaning  # noqa: PLC0415 - optional

        return Meaning()
    except (ImportError, OSError, RuntimeError) as error:
        sys.stderr.write(f"no vectors: {error}\n")
        return None


def _visual(model: Path | None) -> Any:
    from sploot_server.clip import Visual  # noqa: PLC0415 - only in the worker for pictures

    return None if model is None else Visual(model)


def _packed(reading: Reading) -> dict[str, Any]:
    return {
        "text": reading.text,
        "width": reading.width,
        "height": reading.height,
        "vector": _base64(reading.vector),
        "picture": _base64(reading.picture),
        "look": _base64(reading.look),
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _own_stdout() -> TextIO:
    """Keep standard output for answers alone: what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _step_back() -> None:
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


if __name__ == "__main__":
    main()
