"""The worker process: `python -m sploot_server.inference.worker_main`. Serves JSON-line requests on standard input.

    {"id": 1, "analyze": "/path"}      ->  {"id": 1, "text": "...", "width": 1, "height": 1,
                                            "text_vector": B, "hubness": 0.1, "image_vector": B,
                                            "dhash": B, "colours": B, "aspect_ratio": 1.3, "thumbnail": B,
                                            "features": B}
    B is base64, or null
    {"id": 2, "embed_query": "text"}   ->  {"id": 2, "text": B, "background": 0.1, "image": B}
    {"id": 5, "describe": "/path"}     ->  {"id": 5, "features": B, "mirrored": B}
    {"id": 3, "thumbnail": "/path", "targets": {"256": "/path"}}   ->  {"id": 3}
    any failed request                 ->  {"id": 4, "unreadable": "sentence"}  or  {"id": 4, "error": "text"}

The first line of output is {"ready": true}. The process opens no database and exits at the end of its input.
"""

import argparse
import base64
import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from sploot_server.domain.embedding import ImageAnalysis, UnreadableImage
from sploot_server.inference.model_folder import PICTURE_MODEL, TEXT_ENCODER, by_kind
from sploot_server.inference.worker_memory import Turns, is_out_of_memory, limit_memory

NICENESS = 10
OOM_SCORE_ADJ = "500"  # if memory runs out, the kernel kills this process before the server


def main() -> None:
    """Load the models and serve requests until the end of input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", action="store_true", help="analyze images instead of queries, at low priority")
    parser.add_argument("--thumbnails", action="store_true", help="render thumbnails instead")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="folder of a model: see model_folder.py"
    )
    arguments = parser.parse_args()
    responses = _reserve_stdout()
    if arguments.images:
        _lower_priority()
    with contextlib.suppress(BrokenPipeError):  # the server has exited
        handler = (
            _render_thumbnails if arguments.thumbnails else Encoders(arguments.model, images=arguments.images).handle
        )
        RequestServer(responses, handler, arguments.threads).serve(sys.stdin)
    os._exit(0)  # not sys.exit: it would wait for threads that may still analyze an image


class RequestServer:
    """Processes requests on several threads and writes the responses in the order of completion."""

    def __init__(self, responses: TextIO, handler: Callable[[dict[str, Any]], dict[str, Any]], threads: int) -> None:
        self._responses = responses
        self._handler = handler
        self._threads = threads
        self._turns = Turns(threads)
        self._memory_bytes = limit_memory(threads)
        self._lock = threading.Lock()

    def serve(self, requests: TextIO) -> None:
        # Unbounded: the server limits the number of requests it waits for.
        request_queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for _ in range(self._threads):
            threading.Thread(target=self._process_requests, args=(request_queue,), daemon=True).start()
        self._send({"ready": True})
        for line in requests:
            request_queue.put(json.loads(line))

    def _process_requests(self, requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
        while True:
            request = requests.get()
            self._send({"id": request["id"], **self._respond(request)})

    def _respond(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle a request; again without others if it failed for good, because those may have used up the memory.

        Not every decoder says that it lacks memory.
        """
        try:
            with self._turns.shared():
                return self._handle(request)
        except (MemoryError, UnreadableImage):
            pass
        try:
            with self._turns.alone():
                return self._handle(request)
        except UnreadableImage as error:
            return {"unreadable": str(error)}
        except MemoryError:
            limit = self._memory_bytes // 1_000_000
            return {"unreadable": f"The image takes more memory than the {limit} MB that it may use."}

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._handler(request)
        except (MemoryError, UnreadableImage):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError from error
            return {"error": f"{type(error).__name__}: {error}"}

    def _send(self, response: dict[str, Any]) -> None:
        with self._lock:
            self._responses.write(json.dumps(response) + "\n")
            self._responses.flush()


class Encoders:
    """The models for images, or those for queries."""

    def __init__(self, models: Sequence[Path], *, images: bool) -> None:
        folders = by_kind(models)
        self._text_encoder = _load_text_encoder(folders.get(TEXT_ENCODER))
        model = folders.get(PICTURE_MODEL)
        self._image_analyzer = self._clip_text_encoder = None
        if images:
            from sploot_server.inference.image_analysis import ImageAnalyzer  # noqa: PLC0415 - a second and 200 MB that queries do not need

            self._image_analyzer = ImageAnalyzer(self._text_encoder, _load_image_encoder(model))
        elif model is not None:
            from sploot_server.inference.clip import ClipTextEncoder  # noqa: PLC0415 - only if a CLIP model is configured

            self._clip_text_encoder = ClipTextEncoder(model)

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"analyze": str(path)} if self._image_analyzer is not None:
                return _analysis_to_json(self._image_analyzer.analyze(Path(path)))
            case {"describe": str(path)} if self._image_analyzer is not None:
                features, mirrored = self._image_analyzer.describe(Path(path))
                return {"features": _encode_base64(features), "mirrored": _encode_base64(mirrored)}
            case {"embed_query": str(text)} if self._image_analyzer is None:
                query = self._text_encoder.query(text) if self._text_encoder else None
                return {
                    "text": _encode_base64(query.vector if query else None),
                    "background": query.background if query else 0.0,
                    "image": _encode_base64(self._clip_text_encoder.embed(text) if self._clip_text_encoder else None),
                }
        raise ValueError("This worker does not support the request.")


def _render_thumbnails(request: dict[str, Any]) -> dict[str, Any]:
    from sploot_server.inference.render_thumbnail import render_thumbnails  # noqa: PLC0415 - only the thumbnail worker needs it

    targets = {int(side_px): Path(target) for side_px, target in request["targets"].items()}
    render_thumbnails(Path(request["thumbnail"]), targets)
    return {}


def _load_text_encoder(added: Path | None) -> Any:
    """Return the text encoder; None if no model can be loaded: searches then match by words only."""
    try:
        from sploot_server.inference.text_encoder import TextEncoder  # noqa: PLC0415 - optional

        return TextEncoder(added)
    except (ImportError, OSError, ValueError) as error:
        sys.stderr.write(f"no text encoder: {error}\n")
        return None


def _load_image_encoder(model: Path | None) -> Any:
    from sploot_server.inference.clip import ClipImageEncoder  # noqa: PLC0415 - only the image worker needs it

    return None if model is None else ClipImageEncoder(model)


def _analysis_to_json(analysis: ImageAnalysis) -> dict[str, Any]:
    return {
        "text": analysis.text,
        "width": analysis.width,
        "height": analysis.height,
        "text_vector": _encode_base64(analysis.text_vector),
        "hubness": analysis.hubness,
        "image_vector": _encode_base64(analysis.image_vector),
        "dhash": _encode_base64(analysis.dhash),
        "colours": _encode_base64(analysis.colours),
        "thumbnail": _encode_base64(analysis.thumbnail),
        "features": _encode_base64(analysis.features),
        "aspect_ratio": analysis.aspect_ratio,
    }


def _encode_base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _reserve_stdout() -> TextIO:
    """Reserve standard output for responses; redirect the output of libraries to standard error."""
    # Native code writes to descriptor 1, so replacing sys.stdout would not keep its output out of the protocol.
    responses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return responses


def _lower_priority() -> None:
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)


if __name__ == "__main__":
    main()
