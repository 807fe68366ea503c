"""Users and tokens from the command line, with and without a running server."""

import json
import re
import shlex
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sploot_server.auth.rate_limit import BURST_MAX
from sploot_server.environment import default_data
from toy_library import COMMAND, ServerProcess, picture
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

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


def test_a_token_is_printed_once_and_stored_nowhere(data: Path) -> None:
    assert run("user", "add", "anna", data=data).returncode == 0
    token = token_of(data, "anna", "--label", "laptop")
    header, listed = run("token", "list", data=data).stdout.splitlines()
    assert header.split("\t")[:4] == ["ID", "USER", "LABEL", "SCOPES"]
    assert listed.split("\t")[1:4] == ["anna", "laptop", "read,write"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", listed.split("\t")[4])
    assert token.split("_")[1] == listed.split("\t")[0]
    secret = token.split("_")[2].encode()
    assert secret not in listed.encode()
    assert not [file for file in data.rglob("*") if file.is_file() and secret in file.read_bytes()]


def test_a_token_in_a_file_can_be_read_by_its_owner_only(start: Start, data: Path, tmp_path: Path) -> None:
    run("user", "add", "anna", data=data)
    file = tmp_path / "a token"
    made = run("token", "create", "anna", "--out", str(file), data=data)
    assert (made.returncode, made.stdout) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"sploot login --token-stdin < '{file}'" in made.stderr
    server = start(port=0)
    assert status(server.address, file.read_text().strip()) == 200
    refused = run("token", "create", "anna", "--out", str(file), data=data)
    assert (refused.returncode, "File exists" in refused.stderr) == (1, True)
    other = tmp_path / "other"
    assert run("token", "create", "nobody", "--out", str(other), data=data).returncode == 1
    assert not other.exists(), "without a token no file is left"
    assert len(run("token", "list", data=data).stdout.splitlines()) == 2, "the refused token does not exist"


def test_the_command_after_adding_a_user_can_be_pasted(data: Path) -> None:
    added = run("user", "add", "Ben Müller", data=data).stderr
    pasted = shlex.split(added.split("`")[1])
    assert pasted == ["sploot-server", "token", "create", "Ben Müller", "--data", str(data)]
    assert subprocess.run([*COMMAND, *pasted[1:]], capture_output=True, check=False).returncode == 0


def test_without_data_the_commands_use_the_variable_or_the_place_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is printed for this library then needs no option."""
    for name, folder in (("SPLOOT_SERVER_DATA", tmp_path / "a"), ("XDG_DATA_HOME", tmp_path / "b")):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(folder))
            place = default_data() if name.startswith("XDG") else folder
            if place.is_relative_to(tmp_path):  # not for root, whose place is one for all
                added = subprocess.run([*COMMAND, "user", "add", "anna"], capture_output=True, text=True, check=True)
                assert added.stderr.endswith("`sploot-server token create anna`.\n")
                assert (place / "library.db").exists()


def test_revoked_tokens_are_listed_only_on_request(data: Path) -> None:
    run("user", "add", "anna", data=data)
    tokens = [token_of(data, "anna"), token_of(data, "anna")]
    run("token", "revoke", tokens[0], data=data)
    listed = run("token", "list", data=data)
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["ID", tokens[1].split("_")[1]]
    assert "1 revoked or expired" in listed.stderr
    pasted = shlex.split(listed.stderr.split("`")[1])
    listed_all = subprocess.run([*COMMAND, *pasted[1:]], capture_output=True, text=True, check=True).stdout
    assert [line.rpartition("\t")[2].split()[0] for line in listed_all.splitlines()] == ["VALIDITY", "revoked", "valid"]


def test_links_are_listed_and_revoked_by_the_operator(start: Start, data: Path) -> None:
    server = start()
    with server.client() as client:
        sent = client.post("/api/upload", files={"file": ("cat.jpg", picture("a"), "image/jpeg")})
        shared = client.post(f"/api/assets/{sent.json()['asset']['id']}/share").json()["shareUrl"]
        header, listed = run("links", "list", data=data).stdout.splitlines()
        assert header == "LINK\tUSER\tFILE\tCREATED"
        assert listed.split("\t")[:3] == [shared.removeprefix("http://localhost"), "", "cat.jpg"]
        revoked = run("link", "revoke", shared, data=data)
        assert (revoked.returncode, run("link", "list", data=data).stdout.count("\n")) == (0, 1)
        assert client.get(shared).status_code == 404
    missing = run("link", "revoke", shared, data=data)
    assert (missing.returncode, "does not exist; `sploot-server link list --data" in missing.stderr) == (1, True)


def test_the_log_says_who_signed_in_and_no_error_for_who_is_signed_out(start: Start, data: Path) -> None:
    run("user", "add", "anna", data=data)
    token = token_of(data, "anna", "--label", "laptop")
    server = start(port=0)
    for each in (token, token, "wrong", "wrong", ""):
        status(server.address, each)
    for headers in ({}, {"authorization": "Bearer wrong"}):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{server.address.replace('http', 'ws')}/api/ws/upload-status", additional_headers=headers)
        assert refused.value.response.status_code == 401
    records = [json.loads(line) for line in server.stop().splitlines()]
    signed_in = [each for each in records if each["event"] == "signed in"]
    assert [(each["user"], each["label"], each["address"]) for each in signed_in] == [("anna", "laptop", "127.0.0.1")]
    assert [each["event"] for each in records].count("unknown token") == 1
    assert [each for each in records if each["level"] == "error"] == []
    assert token.rpartition("_")[2] not in str(records)


@pytest.mark.parametrize(
    "words", [("user", "list"), ("token", "list"), ("links", "list"), ("export", "here"), ("backup", "b")]
)
def test_a_mistyped_folder_is_neither_created_nor_written_to(data: Path, words: tuple[str, ...]) -> None:
    ended = run(*words, data=data)
    assert (ended.returncode, ended.stderr) == (78, f"sploot-server: {data} does not exist; check --data.\n")
    assert not data.exists()
    data.mkdir()
    ended = run(*words, data=data)
    assert (ended.returncode, ended.stderr) == (78, f"sploot-server: {data} holds no library; check --data.\n")
    assert not list(data.iterdir())


def test_users_and_tokens_change_while_the_server_runs(start: Start, data: Path) -> None:
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
    assert run("user", "list", data=data).stdout.count("\n") == 1, "the header"


def test_the_admin_socket_is_private_and_removed_with_the_server(start: Start, data: Path) -> None:
    server = start()
    path = data / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"nonsense\n")
        assert connection.makefile("rb").read() == b""
    assert run("user", "list", data=data).returncode == 0
    server.stop()
    assert not path.exists()


def test_a_command_reaches_the_server_of_a_folder_whose_path_is_too_long_for_a_socket(
    start: Start, tmp_path: Path
) -> None:
    data = tmp_path / ("long" * 30) / "library"
    data.parent.mkdir()
    server = start(data=data, port=0)
    added = run("user", "add", "anna", data=data)
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    assert status(server.address, token_of(data, "anna")) == 200
    server.stop()
    assert not (data / "admin.sock").exists()


def test_assets_without_an_owner_are_adopted_and_removed_only_with_an_option(start: Start, data: Path) -> None:
    server = start()
    with server.client() as client:
        client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")})
    added = run("user", "add", "anna", "--adopt", data=data)
    assert "anna now owns 1 file" in added.stderr
    kept = run("user", "remove", "anna", data=data)
    assert (kept.returncode, "--with-pictures" in kept.stderr) == (1, True)
    assert run("user", "remove", "anna", "--with-pictures", data=data).returncode == 0
    assert not list((data / "blobs").glob("*/*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["token", "create", "nobody"], "User nobody does not exist"),
        (["token", "revoke", "sploot_nope_x"], "Token nope does not exist"),
        (["user", "remove", "nobody"], "User nobody does not exist"),
        (["user", "add", " "], "A user name must have 1 to 100 characters"),
        (["user", "add", "Ben"], "User Ben exists already"),
        (["token", "create", "ben", "--scopes", "all"], "allowed: read, write, admin"),
        (["import", "nowhere", "--user", "ben"], "Is this an exported folder?"),
        (["export", "x", "--user", "nobody"], "User nobody does not exist"),
        (["export", "x"], "choose the owner with --user"),
    ],
)
def test_a_failed_command_is_reported_in_one_sentence(data: Path, words: list[str], message: str) -> None:
    run("user", "add", "ben", data=data)
    rejected = run(*words, data=data)
    assert rejected.returncode == 1
    assert message in rejected.stderr
    assert "Traceback" not in rejected.stderr


def test_a_server_with_a_token_listens_on_a_public_address(start: Start, data: Path) -> None:
    run("user", "add", "anna", data=data)
    token = token_of(data, "anna")
    server = start("--host", "0.0.0.0", port=0)
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    assert [status(address, each) for each in (token, "")] == [200, 401]


@pytest.mark.parametrize("proxy", ["on a Unix socket", "on a port"])
def test_a_client_cannot_choose_its_address_for_the_rate_limit(start: Start, data: Path, proxy: str) -> None:
    """A proxy appends the address of the client to the header that the client sent."""
    run("user", "add", "anna", data=data)
    token = token_of(data, "anna")
    server = (
        start("--accounts", "--trusted-proxies", "*")
        if "socket" in proxy
        else start("--trusted-proxies", "127.0.0.1", port=0)
    )
    with server.client() if "socket" in proxy else httpx.Client(base_url=server.address) as client:

        def guess(number: int, seen: str) -> int:
            headers = {"authorization": f"Bearer wrong{number}", "x-forwarded-for": f"10.9.8.{number}, {seen}"}
            return client.get("/api/upload", headers=headers).status_code

        assert [guess(number, "192.0.2.1") for number in range(BURST_MAX + 2)] == [401] * BURST_MAX + [429] * 2
        assert guess(99, "192.0.2.2") == 401, "other clients are not delayed"
        headers = {"authorization": f"Bearer {token}", "x-forwarded-proto": "https", "host": "memes.example"}
        sent = client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")}, headers=headers)
        assert sent.json()["asset"]["blobUrl"].startswith("https://memes.example/api/assets/")


def test_forwarded_headers_of_unlisted_addresses_are_ignored(start: Start, data: Path) -> None:
    run("user", "add", "anna", data=data)
    token_of(data, "anna")
    server = start(port=0)
    statuses = [
        httpx.get(
            f"{server.address}/api/upload",
            headers={"authorization": f"Bearer wrong{number}", "x-forwarded-for": f"10.9.8.{number}"},
        ).status_code
        for number in range(BURST_MAX + 1)
    ]
    assert statuses == [401] * BURST_MAX + [429]


def test_the_server_serves_https_with_a_certificate(start: Start, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run(
            ["openssl", "req", *options, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is missing; this test needs it to create a certificate")
    server = start("--tls-cert", str(certificate), "--tls-key", str(key), port=0)
    assert server.address.startswith("https://")
    assert httpx.get(f"{server.address}/api/health", verify=False).json()["status"] == "ok"


def test_an_invalid_certificate_is_reported(data: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no")
    options = ["--port", "0", "--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.pem")]
    rejected = run(*options, data=data)
    assert (rejected.returncode, "Cannot load --tls-cert" in rejected.stderr) == (78, True)
