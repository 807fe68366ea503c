"""The library server as a process: start, shutdown and crashes."""

import hashlib
import json
import os
import random
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sploot_server.cli import EXTRA_MODULES
from toy_library import COMMAND, ServerProcess, picture

Start = Callable[..., ServerProcess]


def send(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/api/upload", files={"file": ("a.jpg", data, "image/jpeg")})


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)


def test_only_the_owner_can_access_the_socket_and_the_library(start: Start) -> None:
    server = start()
    assert server.address == f"unix:{server.socket}"
    for path in (server.socket, server.data / "library.db", server.data / "blobs", server.data):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_sigterm_stops_the_server_with_exit_code_0(start: Start) -> None:
    server = start()
    with server.client() as client:
        assert send(client, picture("a")).status_code == 201
    log = server.stop()
    assert server.process.returncode == 0
    assert not server.socket.exists()
    assert [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")][-1] == "stopped"


def test_a_running_upload_is_finished_before_the_server_stops(start: Start) -> None:
    server = start()
    data = b"\xff\xd8\xff" + os.urandom(300_000)
    body = (
        b'--b0undary0b0undary0\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        + data
        + b"\r\n--b0undary0b0undary0--\r\n"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        connection.sendall(
            b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b0undary0b0undary0\r\n"
            b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the request is running
        connection.sendall(body[:1000])
        server.process.terminate()
        connection.sendall(body[1000:])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 201")
    server.ended()
    assert server.process.returncode == 0


def test_the_server_stops_with_its_parent(start: Start) -> None:
    server = start()
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.process.wait(timeout=30) == 0


def test_a_second_server_for_the_same_library_exits_with_75(start: Start, tmp_path: Path) -> None:
    server = start()
    second = run("--data", str(server.data), "--uds", str(tmp_path / "t.sock"), "--lock-wait", "0.1")
    assert second.returncode == 75
    assert second.stderr == f"sploot-server: Another sploot-server already serves {server.data}.\n"
    with server.client() as client:
        assert client.get("/api/health").status_code == 200


def test_a_new_server_waits_for_the_stopping_one(start: Start) -> None:
    first = start()
    stopping = threading.Timer(0.3, first.process.terminate)
    stopping.start()
    second = start("--lock-wait", "30", data=first.data)
    stopping.join()
    with second.client() as client:
        assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0", "--port", "0"], "no user exists"),
        (["--database", "postgresql://nobody@127.0.0.1:1/x"], "The database cannot be reached"),
        (["--host", "0.0.0.0", "--trusted-proxies", "*"], "list the addresses of the proxies"),
        (["--port", "70000"], "--port 70000 is not a port"),
        (["--types", "image/jpeg,image/tiff"], "--types contains 'image/tiff'; allowed: image/jpeg,"),
        (["--max-upload-bytes", "0"], "--max-upload-bytes 0 is too small"),
        (["--threads", "0"], "--threads 0 is out of range; allowed: 1 to 64"),
        (["--uds", "/tmp/" + "x" * 120], "bytes long; at most 103 are allowed"),
        (["--log", "/nowhere/at/all"], "--log /nowhere/at/all cannot be written"),
    ],
)
def test_a_configuration_error_is_reported_in_one_sentence(tmp_path: Path, options: list[str], message: str) -> None:
    ended = run("--data", str(tmp_path), *options)
    assert ended.returncode == 78
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_at_the_path_of_the_socket_is_not_changed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    ended = run("--data", str(tmp_path), "--uds", str(precious))
    assert (ended.returncode, precious.read_text()) == (78, "mine")


def test_a_damaged_library_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"something else" * 100)
    ended = run("--data", str(tmp_path), "--uds", str(tmp_path / "s"))
    assert ended.returncode == 78
    assert "was not modified" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_the_error_names_the_package_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['numpy'] = None; from sploot_server.cli import main; main()"
    command = [COMMAND[0], "-c", hidden, "--data", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    assert ended.stderr == (
        "sploot-server: the packages of the local library are not installed; run `pip install 'sploot[local]'`.\n"
    )


def test_every_module_required_at_start_belongs_to_the_extra() -> None:
    declared = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, requires("sploot") or ())
        if requirement.marker is not None and requirement.marker.evaluate({"extra": "local"})
    }
    distributions = packages_distributions()
    assert all(declared & set(map(canonicalize_name, distributions[module])) for module in EXTRA_MODULES)


def test_the_server_listens_on_a_loopback_port(start: Start) -> None:
    server = start(port=0)
    assert server.address.startswith("http://127.0.0.1:")
    assert httpx.get(f"{server.address}/api/health").status_code == 200


def test_sigkill_at_any_moment_loses_nothing_and_duplicates_nothing(start: Start) -> None:
    """Four threads upload while the server is killed, five times; a failure prints the random seed."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    pictures = [b"\xff\xd8\xff" + rng.randbytes(rng.choice([100, 70_000, 300_000])) for _ in range(60)]
    stored: set[int] = set()
    for _ in range(5):
        server = start()
        enough = len(stored) + rng.randrange(1, 12)
        upload_until_killed(server, pictures, stored, enough)
    server = start()
    with server.client() as client:
        for number in stored:  # every acknowledged upload is stored byte for byte
            checksum = hashlib.sha256(pictures[number]).hexdigest()
            check = client.post("/api/upload/check", json={"checksum": checksum}).json()
            assert check["exists"], f"seed {seed}: lost {number}"
            assert client.get(check["asset"]["blobUrl"]).content == pictures[number], f"seed {seed}"
        for data in pictures:
            assert send(client, data).status_code in (201, 409)
        assets = client.get("/api/assets?limit=1000").json()["assets"]
    expected = sorted(hashlib.sha256(data).hexdigest() for data in pictures)
    assert sorted(asset["checksum"] for asset in assets) == expected, f"seed {seed}"
    files = sorted(path.name for path in (server.data / "blobs").glob("*/*"))
    assert files == expected, f"seed {seed}"
    assert list((server.data / "incoming").iterdir()) == []


def upload_until_killed(server: ServerProcess, pictures: list[bytes], stored: set[int], enough: int) -> None:
    waiting = iter([number for number in range(len(pictures)) if number not in stored])
    lock = threading.Lock()

    def upload() -> None:
        with server.client() as client:
            while True:
                with lock:
                    number = next(waiting, None)
                if number is None:
                    return
                try:
                    answer = send(client, pictures[number])
                except httpx.TransportError:
                    return
                assert answer.status_code in (201, 409)
                with lock:
                    stored.add(number)
                    if len(stored) >= enough:
                        server.process.kill()

    uploaders = [threading.Thread(target=upload) for _ in range(4)]
    for each in uploaders:
        each.start()
    for each in uploaders:
        each.join()
    server.kill()


def test_an_interrupted_upload_leaves_no_files(start: Start) -> None:
    server = start()
    with socket.socket(socket.AF_UNIX) as connection, server.client() as client:
        connection.connect(str(server.socket))
        connection.sendall(
            b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n"
            b"Content-Type: multipart/form-data; boundary=b0undary0b0undary0\r\n\r\n"
            b'--b0undary0b0undary0\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n\xff\xd8\xff'
        )
        connection.sendall(bytes(600_000))
        while not list((server.data / "incoming").iterdir()):
            client.get("/api/health")
        connection.close()
        while list((server.data / "incoming").iterdir()):
            client.get("/api/health")
        assert client.get("/api/assets").json()["pagination"]["total"] == 0


def test_a_rejected_client_that_sends_before_it_reads_receives_the_error(start: Start) -> None:
    server = start()
    with server.client() as client:
        rejected = send(client, picture("x" * 20_000_000))
        assert (rejected.status_code, rejected.json()["error"][:17]) == (413, "File is too large")
        assert client.get("/api/health").status_code == 200
