"""Debian's Firefox without a window, driven by WebDriver BiDi over a WebSocket."""

import itertools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

LISTENING = re.compile(rb"WebDriver BiDi listening on (\S+)")
LIMIT_S = 30
ENTER, ESCAPE, RIGHT = "\ue007", "\ue00c", "\ue014"  # as WebDriver writes keys without a character
POLL_JS = """new Promise((resolve, reject) => {{
  const end = performance.now() + {limit_ms};
  const look = () => {{
    if ({condition}) resolve();
    else if (performance.now() > end) reject(new Error("not true in time: " + {text}));
    else requestAnimationFrame(look);
  }};
  look();
}})"""
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.events.testing.asyncClipboard": True,  # as if the user had allowed every page to read it
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


class Firefox:
    """A tab of Firefox. `errors` are the console errors and the uncaught exceptions of its pages."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self._context = self._send("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        self._send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, which may be a promise; a list or an object is JSON in it."""
        reply = self._send(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((value) => JSON.stringify(value))",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert reply["type"] == "success", reply["exceptionDetails"]["text"]
        return json.loads(reply["result"].get("value", "null"))

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript condition is true."""
        self.evaluate(POLL_JS.format(limit_ms=LIMIT_S * 1000, condition=condition, text=json.dumps(condition)))

    def press(self, *keys: str) -> None:
        """Press keys one after another, each by its character."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._act([{"type": "key", "id": "keyboard", "actions": actions}])

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        middle = "(({ x, y, width, height }) => [x + width / 2, y + height / 2])"
        x, y = self.evaluate(f"{middle}(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        move = {"type": "pointerMove", "x": round(x), "y": round(y)}
        self._act([{"type": "pointer", "id": "mouse", "actions": [move, *press]}])

    def _act(self, sources: Sequence[dict[str, Any]]) -> None:
        self._send("input.performActions", context=self._context, actions=sources)

    def _send(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result. Events that arrive meanwhile are recorded."""
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=2 * LIMIT_S))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.errors.append(message["params"]["text"])
            if message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]


@contextmanager
def firefox() -> Iterator[Firefox]:
    """Start Firefox with a new profile."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("Firefox is not installed: apt-get install firefox-esr")
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        process = subprocess.Popen(
            [path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            with connect(f"{_read_address(process)}/session", max_size=None) as connection:
                yield Firefox(connection)
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def _read_address(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := LISTENING.search(line):
            return found[1].decode()
    raise AssertionError("Firefox ended before it listened")
