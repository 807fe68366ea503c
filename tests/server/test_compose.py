"""The compose file without containers: its commands, its environment and its health checks are executed."""

import ipaddress
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
import s3
import yaml
from redis_server import RedisServer
from toy_library import COMMAND, ServerProcess

DOCS = Path(__file__).parent.parent.parent / "docs"
TEXT = (DOCS / "compose.yaml").read_text()
FILE: Mapping[str, Any] = yaml.safe_load(TEXT)
SERVICES: Mapping[str, Any] = FILE["services"]
TYPED = re.findall(r"podman compose run --rm server (.+)", TEXT)
CONTAINERFILE = (DOCS / "Containerfile").read_text()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set every variable of the file, with URLs of real backends instead of the containers'."""
    redis = RedisServer(tmp_path)
    real = {
        **s3.server(),
        "SPLOOT_SERVER_DATABASE": postgres.new_database(),
        "SPLOOT_SERVER_BLOBS": s3.new_prefix(),
        "SPLOOT_SERVER_EVENTS": redis.url,
    }
    for name, text in SERVICES["server"]["environment"].items():
        monkeypatch.setenv(name, real.pop(name, text))
    assert not real, "the file lacks these variables"
    yield
    redis.kill()


def run(line: str, data: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line.replace("/data", shlex.quote(str(data))))
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.usefixtures("environment")
def test_the_token_created_by_the_commands_in_the_file_is_valid_on_every_server(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    """The commands run in a separate container, so users and tokens must be in the database, not in its folder."""
    assert len(TYPED) == 2
    made = [run(line, tmp_path / "passing") for line in TYPED]
    assert [each.returncode for each in made] == [0, 0], made
    server = start("--host", "0.0.0.0", data=tmp_path / "data", port=0)
    shown = {"authorization": f"Bearer {made[1].stdout.strip()}"}
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{address}/api/upload", headers=shown).status_code == 200
    assert httpx.get(f"{address}/api/upload").status_code == 401
    probe = SERVICES["server"]["healthcheck"]["test"]
    assert probe[:2] == ["CMD", "python"]
    checked = [sys.executable, *(each.replace("http://127.0.0.1:8765", address) for each in probe[2:])]
    assert subprocess.run(checked, check=False, timeout=30).returncode == 0
    server.kill()
    assert subprocess.run(checked, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode != 0


@pytest.mark.usefixtures("environment")
def test_the_worker_service_starts_a_worker_and_its_health_check_passes(tmp_path: Path) -> None:
    beat = str(tmp_path / "heartbeat")
    command = [word.replace("/tmp/heartbeat", beat) for word in SERVICES["worker"]["command"]]
    probe = SERVICES["worker"]["healthcheck"]["test"]
    assert probe[:2] == ["CMD", "python"]
    checked = [sys.executable, *(each.replace("/tmp/heartbeat", beat) for each in probe[2:])]
    assert subprocess.run(checked, check=False, stderr=subprocess.DEVNULL).returncode != 0
    process = subprocess.Popen([*COMMAND, *command], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert any('"worker started"' in line for line in process.stderr)
        while not Path(beat).exists():
            assert process.poll() is None
        assert subprocess.run(checked, check=False).returncode == 0
        os.utime(beat, (0, 0))  # the worker hangs
        assert subprocess.run(checked, check=False).returncode != 0
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_files_named_in_the_compose_file_exist() -> None:
    for name in ("server", "worker"):
        build = SERVICES[name]["build"]
        assert (DOCS / build["context"] / build["dockerfile"]).samefile(DOCS / "Containerfile")
        assert set(SERVICES[name]["depends_on"]) <= set(SERVICES)
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 8, "a server drains for 8 seconds"
    assert 'ENTRYPOINT ["sploot-server"]' in CONTAINERFILE
    assert 'CMD ["--data", "/data", "--host", "0.0.0.0"]' in CONTAINERFILE
    extras = set(re.findall(r"/src\[(.+?)\]", CONTAINERFILE)[0].split(","))
    assert extras == {"local", "scale", "heif"}


def test_every_service_that_another_one_names_exists_and_the_volumes_are_declared() -> None:
    for service in SERVICES.values():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], other
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DOCS / source).exists() if source.startswith(".") else source in FILE["volumes"], volume


def test_the_servers_trust_the_address_of_the_balancer_and_of_no_other_service() -> None:
    [network] = FILE["networks"]["default"]["ipam"]["config"]
    balancer = SERVICES["balancer"]["networks"]["default"]["ipv4_address"]
    assert SERVICES["server"]["environment"]["SPLOOT_SERVER_TRUSTED_PROXIES"] == balancer
    assert ipaddress.ip_address(balancer) in ipaddress.ip_network(network["subnet"])
    assert ipaddress.ip_address(balancer) not in ipaddress.ip_network(network["ip_range"]), "another service may get it"


def test_the_balancer_forwards_to_the_port_of_the_servers_and_hides_the_metrics() -> None:
    text = (DOCS / "Caddyfile").read_text()
    assert text.count("{") == text.count("}")
    [(service, port)] = re.findall(r"dynamic a (\w+) (\d+)", text)
    assert service in SERVICES
    assert f"EXPOSE {port}" in CONTAINERFILE
    assert re.search(r"@metrics path /metrics\s+respond @metrics 404", text)
    assert set(re.findall(r"\{\$(\w+)\}", text)) == set(SERVICES["balancer"]["environment"])


def test_the_file_contains_no_password() -> None:
    assert re.findall(r"(?:PASSWORD|SECRET|KEY)\w*: *(?!\"?\$\{)\S+", TEXT) == []
