"""`sploot-server install`: the service is hardened and starts, and the proxies of its examples forward everything."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from s3 import free_ports
from sploot_server.admin.service_install import find_hidden_folder
from sploot_server.environment import default_data
from team_server import TeamServer, team_server
from toy_library import COMMAND, picture
from websockets.sync.client import connect

DOMAIN = "memes.example.com"
EXPOSURE_MAX = 2.0  # of `systemd-analyze security`: 0 is best, 10 worst; "OK" ends at 5
SERVER_ADDRESS = "127.0.0.1:8765"
CLIENT = "127.0.0.2"  # not the address of the proxy, which the server trusts


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "install", "--root", str(root), "--domain", DOMAIN, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder below which everything is installed, and what the command printed."""
    root = tmp_path_factory.mktemp("root")
    return root, install(root).stdout


def settings(unit: Path) -> Mapping[str, str]:
    lines = [line.partition("=") for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"]
    return {name: value for name, _, value in lines}


def unit_of(root: Path) -> Path:
    return root / "etc/systemd/system/sploot-server.service"


def test_the_service_has_a_user_and_a_folder_of_its_own_and_private_options(installed: tuple[Path, str]) -> None:
    root, printed = installed
    unit = settings(unit_of(root))
    made = (root / "etc/sysusers.d/sploot-server.conf").read_text().splitlines()[-1]
    _, user, _, _, home = shlex.split(made)
    assert (unit["User"], f"/var/lib/{unit['StateDirectory']}") == (user, home)
    assert home == unit["Environment"].partition("=")[2].replace("%S", "/var/lib")
    assert shlex.split(unit["ExecStart"])[0] == sys.executable
    options = root / unit["EnvironmentFile"].lstrip("/")
    assert options.stat().st_mode & 0o077 == 0, "it may hold passwords"
    options.write_text("SPLOOT_SERVER_PORT=9999\n")
    install(root)
    assert options.read_text() == "SPLOOT_SERVER_PORT=9999\n", "what the operator has written stays"
    assert all(str(file) in printed for file in (unit_of(root), options))


def test_the_installed_service_starts_with_its_options_and_its_commands_find_its_library(
    installed: tuple[Path, str], tmp_path: Path
) -> None:
    """The command of the unit is run with the environment of the unit; its folder and port are those of the test."""
    root = tmp_path / "root"
    install(root)
    unit = settings(unit_of(root))
    [port] = free_ports(1)
    named = dict(
        line.split("=", 1)
        for line in (root / unit["EnvironmentFile"].lstrip("/")).read_text().splitlines()
        if not line.startswith("#")
    )
    environment = {**os.environ, **named, "SPLOOT_SERVER_DATA": str(tmp_path / "data"), "SPLOOT_SERVER_PORT": str(port)}
    process = subprocess.Popen(shlex.split(unit["ExecStart"]), env=environment, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        assert any(b'"listening"' in line for line in process.stderr)
        words = [line.split()[2:] for line in installed[1].splitlines() if re.match(r" +sudo .+ (user|token) ", line)]
        made = [
            subprocess.run([*COMMAND, *each], env=environment, capture_output=True, text=True, check=True)
            for each in words
        ]
        address = f"http://127.0.0.1:{port}/api/assets"
        token = {"authorization": f"Bearer {made[1].stdout.strip()}"}
        assert [httpx.get(address, headers=each).status_code for each in (token, {})] == [200, 401]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_accepts_the_unit_and_finds_it_hardened(installed: tuple[Path, str]) -> None:
    unit = unit_of(installed[0])
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "sploot-server.service:" not in verified.stderr.replace("User", ""), verified.stderr
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exposure = float(re.findall(r"Overall exposure level.*?: ([\d.]+)", shown)[0])
    assert exposure <= EXPOSURE_MAX, shown


def test_without_the_right_to_write_the_command_says_so_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    refused = install(tmp_path)
    assert (refused.returncode, "Run the command with sudo" in refused.stderr) == (78, True)
    assert "Traceback" not in refused.stderr


def test_root_has_one_library_for_the_whole_machine() -> None:
    assert (default_data() == Path("/var/lib/sploot-server")) == (os.geteuid() == 0)


def test_a_program_in_a_private_folder_is_noticed(tmp_path: Path) -> None:
    """The service could not start it: it sees no home folders, and no folders that others may not enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert find_hidden_folder(private / "bin" / "python") is not None
    assert find_hidden_folder(Path("/home/anna/.venv/bin/python")) == Path("/home")
    assert find_hidden_folder(Path("/usr/bin/python3")) is None


def blocks(text: str) -> list[str]:
    """Return the lines without comments; assert that their braces match."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    depth = 0
    for line in lines:
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0
    return lines


def test_both_examples_forward_to_the_service_and_hide_its_metrics(installed: tuple[Path, str]) -> None:
    folder = installed[0] / "etc/sploot-server"
    caddy, nginx = (blocks((folder / name).read_text()) for name in ("Caddyfile", "nginx.conf"))
    assert caddy[0] == f"{DOMAIN} {{"
    assert [line for line in caddy if SERVER_ADDRESS in line] == [f"reverse_proxy {SERVER_ADDRESS} {{"]
    assert "@metrics path /metrics" in caddy
    assert f"server {SERVER_ADDRESS};" in nginx
    assert nginx.count(f"server_name {DOMAIN};") == 2
    assert nginx[nginx.index("location = /metrics {") + 1] == "return 404;"


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a proxy until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        with _local_client() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):  # it does not listen, or has no certificate yet
                    client.get(f"https://{DOMAIN}:{port}/api/health")
                    break
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def nginx(folder: Path, example: str, port: int, server: TeamServer) -> list[str]:
    """Write a configuration with the example in it, and return the command."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={DOMAIN}"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    [redirecting] = free_ports(1)
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{redirecting};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem", str(certificate)),
        (f"/etc/letsencrypt/live/{DOMAIN}/privkey.pem", str(key)),
        (SERVER_ADDRESS, f"127.0.0.1:{server.port}"),
    ):
        assert old in example
        example = example.replace(old, new)
    paths = "".join(
        f"{each}_temp_path {folder}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {paths}\n{example}\n}}"
    (folder / "main.conf").write_text(f"daemon off; {'user root;' if os.geteuid() == 0 else ''} {main}")
    return ["nginx", "-c", str(folder / "main.conf"), "-p", str(folder)]


def caddy(folder: Path, example: str, port: int, server: TeamServer) -> list[str]:
    """Write the example with a certificate of Caddy's own, and return the command."""
    example = example.replace(SERVER_ADDRESS, f"127.0.0.1:{server.port}")
    [http] = free_ports(1)
    options = ("admin off", "local_certs", "skip_install_trust", f"http_port {http}", f"https_port {port}")
    own = "\n".join(["{", *options, f"storage file_system {folder}", "}", ""])
    (folder / "Caddyfile").write_text(own + example)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_the_example_forwards_uploads_push_channels_and_the_address_of_the_client(
    proxy: object, installed: tuple[Path, str], tmp_path: Path
) -> None:
    assert callable(proxy)
    name = proxy.__name__
    if shutil.which(name) is None:
        pytest.skip(f"{name} is missing; run `apt-get install {name}`")
    file = {"nginx": "nginx.conf", "caddy": "Caddyfile"}[name]
    example = (installed[0] / "etc/sploot-server" / file).read_text()
    [port] = free_ports(1)
    folder = tmp_path / name
    folder.mkdir()
    with (
        team_server(tmp_path / "library", "--trusted-proxies", "127.0.0.1") as server,
        running(proxy(folder, example, port, server), port),
        _local_client() as client,
    ):
        address, token = f"https://{DOMAIN}:{port}", {"authorization": f"Bearer {server.tokens['anna']}"}
        sent = client.post(
            f"{address}/api/upload",
            headers={**token, "x-forwarded-for": "192.0.2.1"},
            files={"file": ("a.jpg", picture("cat").ljust(3_000_000, b"\0"))},
        )
        assert (sent.status_code, sent.json()["asset"]["blobUrl"].startswith(f"{address}/")) == (201, True)
        assert client.get(f"{address}/metrics", headers=token).status_code == 404
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        with connect(
            f"wss://{DOMAIN}:{port}/api/ws/upload-status",
            sock=socket.create_connection(("127.0.0.1", port)),
            ssl=unchecked,
            additional_headers=token,
        ) as push:
            push.send('{"type": "ping"}')
            assert json.loads(push.recv(timeout=30)) == {"type": "pong"}
        log = server.process.stop()
    assert f'"address": "{CLIENT}"' in log, "the address that the proxy has seen"
    assert "192.0.2.1" not in log, "the one that the client claims"


def _local_client() -> httpx.Client:
    """Return a client that finds every host on this machine, and takes any certificate."""

    class Local(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["sni_hostname"] = request.url.host
            request.url = request.url.copy_with(host="127.0.0.1")
            return super().handle_request(request)

    return httpx.Client(transport=Local(verify=False, local_address=CLIENT), timeout=30)
