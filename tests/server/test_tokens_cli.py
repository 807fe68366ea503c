"""Users and tokens from the command line, while nobody serves the library and while somebody does."""

import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sploot_server.accounts.guesses import GUESSES_MAX
from toy_library import COMMAND, ServerProcess, picture

Start = Callable[..., ServerProcess]


def run(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *words, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def token_of(data: Path, user: str, *options: str) -> str:
    made = run("token", "create", user, *options, data=data)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def status(address: str, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{address}/api/assets", headers=headers).status_code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "library"


def test_a_token_is_shown_once_and_kept_nowhere(data: Path) -> None:
    assert run("user", "add", "anna", data=data).returncode == 0
    token = token_of(data, "anna", "--label", "laptop")
    listed = run("token", "list", data=data).stdout
    assert listed.split("\t")[1:4] == ["anna", "laptop", "read,write"]
    assert token.split("_")[1] == listed.split("\t")[0]
    secret = token.split("_")[2].encode()
    assert secret not in listed.encode()
    assert not [file for file in data.rglob("*") if file.is_file() and secret in file.read_bytes()]


def test_users_and_tokens_come_and_go_while_the_server_runs(start: Start, data: Path) -> None:
    server = start(port=0)
    assert status(server.address, "") == 200
    assert run("user", "add", "anna", data=data).returncode == 0
    token = token_of(data, "anna")
    assert [status(server.address, each) for each in (token, "")] == [200, 401]
    assert run("token", "revoke", token, data=data).returncode == 0
    assert status(server.address, token) == 401
    other = token_of(data, "anna")
    assert status(server.address, other) == 200
    assert run("user", "remove", "anna", data=data).returncode == 0
    assert run("user", "list", data=data).stdout == ""


def test_the_socket_for_errands_is_its_owners_alone_and_goes_with_the_server(start: Start, data: Path) -> None:
    server = start()
    path = data / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(b"nonsense\n")
        assert line.makefile("rb").read() == b""
    assert run("user", "list", data=data).returncode == 0
    server.stop()
    assert not path.exists()


def test_pictures_added_without_accounts_are_adopted_and_removed_only_with_a_word(start: Start, data: Path) -> None:
    server = start()
    with server.client() as client:
        client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")})
    added = run("user", "add", "anna", "--adopt", data=data)
    assert "taken over 1 picture." in added.stderr
    kept = run("user", "remove", "anna", data=data)
    assert (kept.returncode, "--with-pictures" in kept.stderr) == (1, True)
    assert run("user", "remove", "anna", "--with-pictures", data=data).returncode == 0
    assert not [file for file in (data / "blobs").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["token", "create", "nobody"], "There is no user nobody"),
        (["token", "revoke", "sploot_nope_x"], "There is no token nope"),
        (["user", "remove", "nobody"], "There is no user nobody"),
        (["user", "add", " "], "A name has 1 to 100 characters"),
        (["user", "add", "Ben"], "There is a user Ben already"),
        (["token", "create", "ben", "--scopes", "all"], "allowed are read, write, admin"),
        (["import", "nowhere", "--user", "ben"], "Is this an exported folder?"),
        (["export", "x", "--user", "nobody"], "There is no user nobody"),
        (["export", "x"], "--user says whose"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(data: Path, words: list[str], sentence: str) -> None:
    run("user", "add", "ben", data=data)
    refused = run(*words, data=data)
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_server_with_a_token_listens_beyond_this_machine(start: Start, data: Path) -> None:
    run("user", "add", "anna", data=data)
    token = token_of(data, "anna")
    server = start("--host", "0.0.0.0", port=0)
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    assert [status(address, each) for each in (token, "")] == [200, 401]


@pytest.mark.parametrize("proxy", ["on a Unix socket", "on a port"])
def test_whoever_guesses_cannot_choose_the_address_he_guesses_from(start: Start, data: Path, proxy: str) -> None:
    """A proxy adds the address that it has seen to what the client says of itself."""
    run("user", "add", "anna", data=data)
    token = token_of(data, "anna")
    server = start("--accounts", "--proxies", "*") if "socket" in proxy else start("--proxies", "127.0.0.1", port=0)
    with server.client() if "socket" in proxy else httpx.Client(base_url=server.address) as client:

        def guess(number: int, seen: str) -> int:
            shown = {"authorization": f"Bearer wrong{number}", "x-forwarded-for": f"10.9.8.{number}, {seen}"}
            return client.get("/api/upload", headers=shown).status_code

        assert [guess(number, "192.0.2.1") for number in range(GUESSES_MAX + 2)] == [401] * GUESSES_MAX + [429] * 2
        assert guess(99, "192.0.2.2") == 401, "others are not made to wait"
        shown = {"authorization": f"Bearer {token}", "x-forwarded-proto": "https", "host": "memes.example"}
        sent = client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")}, headers=shown)
        assert sent.json()["asset"]["blobUrl"].startswith("https://memes.example/api/assets/")


def test_nobody_is_believed_who_was_not_named(start: Start, data: Path) -> None:
    run("user", "add", "anna", data=data)
    token_of(data, "anna")
    server = start(port=0)
    told = [
        httpx.get(
            f"{server.address}/api/upload",
            headers={"authorization": f"Bearer wrong{number}", "x-forwarded-for": f"10.9.8.{number}"},
        ).status_code
        for number in range(GUESSES_MAX + 1)
    ]
    assert told == [401] * GUESSES_MAX + [429]


def test_it_speaks_tls_where_it_has_a_certificate(start: Start, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run(
            ["openssl", "req", *options, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed; it makes the certificate for this test")
    server = start("--tls-cert", str(certificate), "--tls-key", str(key), port=0)
    assert server.address.startswith("https://")
    assert httpx.get(f"{server.address}/api/health", verify=False).json()["status"] == "ok"


def test_a_certificate_that_cannot_be_used_is_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no")
    options = ["--port", "0", "--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.pem")]
    refused = run(*options, data=data)
    assert (refused.returncode, "cannot be used" in refused.stderr) == (78, True)
