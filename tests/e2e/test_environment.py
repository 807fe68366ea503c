"""A wrong proxy or certificate file in the environment: the daemon starts, reports it, and keeps its files queued."""

import time
from pathlib import Path

import memes
import pytest
from temp_home import home_in

LIMIT_S = 60.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", "only http:// and https:// proxies are supported"),
        ("https_proxy", "gopher://127.0.0.1:1", "only http:// and https:// proxies are supported"),
        ("SSL_CERT_FILE", "/missing/certificates.pem", "the trusted certificates cannot be loaded"),
    ],
)
def test_the_daemon_starts_and_keeps_its_files_queued(tmp_path: Path, name: str, value: str, message: str) -> None:
    memes.mass(tmp_path / "memes", count=1, size_bytes=5_000, seed=1)
    with home_in(tmp_path / "home", **{name: value}) as home:
        home.ok("config", "set", "server", "https://127.0.0.1:9")
        home.ok("add", str(tmp_path / "memes"))
        deadline = time.monotonic() + LIMIT_S
        while message not in (home.json("status")["server"]["detail"] or "") and time.monotonic() < deadline:
            time.sleep(0.1)
        status = home.json("status")
        assert message in status["server"]["detail"]
        assert (status["server"]["state"], status["items"]["pending"]) == ("unreachable", 1)
