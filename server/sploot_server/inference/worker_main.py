"""The worker process: `python -m sploot_server.inference.worker_main`. Serves JSON-line requests on standard input.

    {"id": 1, "analyze": "/path"}      ->  {"id": 1, "text": "...", "width": 1, "height": 1,
                                            "text_vector": B, "image_vector": B, "dhash": B}     B: base64, or null
    {"id": 2, "embed_query": "text"}   ->  {"id": 2, "text": B, "image": B}
    {"id": 3, "thumbnail": "/path", "target": "/path", "side_px": 256}   ->  {"id": 3}
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from sploot_server.domain.embedding import ImageAnalysis, UnreadableImage

NICENESS = 10
OOM_SCORE_ADJ = "500"  # if memory runs out, the kernel kills this process before the server


def main() -> None:
    """Load the models and serve requests until the end of input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", action="store_true", help="analyze images instead of queries, at low priority")
    parser.add_argument("--thumbnails", action="store_true", help="render thumbnails instead")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, help="folder of a CLIP model: see clip_manifest.py")
    arguments = parser.parse_args()
    responses = _reserve_stdout()
    if arguments.images:
        _lower_priority()
    with contextlib.suppress(BrokenPipeError):  # the server has exited
        handler = (
            _render_thumbnail if arguments.thumbnails else Encoders(arguments.model, images=arguments.images).handle
        )
        RequestServer(responses, handler).serve(sys.stdin, arguments.threads)
    os._exit(0)  # not sys.exit: it would wait for threads that may still analyze an image


class RequestServer:
    """Processes requests on several threads and writes the responses in the order of completion."""

    def __init__(self, responses: TextIO, handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._responses = responses
        self._handler = handler
        self._lock = threading.Lock()

    def serve(self, requests: TextIO, threads: int) -> None:
        # Unbounded: the server limits the number of requests it waits for.
        request_queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._process_requests, args=(request_queue,), daemon=True).start()
        self._send({"ready": True})
        for line in requests:
            request_queue.put(json.loads(line))

    def _process_requests(self, requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
        while True:
            request = requests.get()
            try:
                response = self._handler(request)
            except UnreadableImage as error:
                response = {"unreadable": str(error)}
            except Exception as error:  # noqa: BLE001 - reported to the server, which decides about a retry
                response = {"error": f"{type(error).__name__}: {error}"}
            self._send({"id": request["id"], **response})

    def _send(self, response: dict[str, Any]) -> None:
        with self._lock:
            self._responses.write(json.dumps(response) + "\n")
            self._responses.flush()


class Encoders:
    """The models for images, or those for queries."""

    def __init__(self, model: Path | None, *, images: bool) -> None:
        self._text_encoder = _load_text_encoder()
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
            case {"embed_query": str(text)} if self._image_analyzer is None:
                text_vector = self._text_encoder.query(text) if self._text_encoder else None
                return {
                    "text": _encode_base64(text_vector),
                    "image": _encode_base64(self._clip_text_encoder.embed(text) if self._clip_text_encoder else None),
                }
        raise ValueError("This worker does not support the request.")


def _render_thumbnail(request: dict[str, Any]) -> dict[str, Any]:
    from sploot_server.inference.render_thumbnail import render_thumbnail  # noqa: PLC0415 - only the thumbnail worker needs it

    render_thumbnail(Path(request["thumbnail"]), Path(request["target"]), request["side_px"])
    return {}


def _load_text_encoder() -> Any:
    """Return the text encoder; None if no model can be loaded: searches then match by words only."""
    try:
        from sploot_server.inference.text_encoder import TextEncoder  # noqa: PLC0415 - optional

        return TextEncoder()
    except (ImportError, OSError, RuntimeError) as error:
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
        "image_vector": _encode_base64(analysis.image_vector),
        "dhash": _encode_base64(analysis.dhash),
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
