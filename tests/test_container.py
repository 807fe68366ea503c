"""The recipe of the container image, executed step by step: each step runs in a root of its own, without an engine.

This machine's root stands for the base image. What the steps write goes to an overlay, which ends with the test.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import httpx
import pytest

ROOT = Path(__file__).parent.parent
CONTAINERFILE = (ROOT / "docs" / "Containerfile").read_text()
STEPS = [line.split(" ", 1) for line in re.sub(r"\\\n", "", CONTAINERFILE).splitlines() if line and line[0] != "#"]
ENTRY = ("ENTRYPOINT", "CMD")
PATH = f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT = """
layer=$1 source=$2
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
mount --bind /dev "$layer/root/dev"
mount -t proc proc "$layer/root/proc"
folder=$layer/root$(dirname "$(command -v python3)")
while [ "$folder" != "$layer/root" ]; do chmod o+x "$folder"; folder=$(dirname "$folder"); done
cp -r "$source" "$layer/root/src"
chroot "$layer/root" sh -eu -c "$RUN"
in_container() { chroot --userspec="$CONTAINER_USER" "$layer/root" env HOME=/home "$@"; }
in_container sploot-server user add anna --data /data
in_container sploot-server token create anna --data /data
exec chroot --userspec="$CONTAINER_USER" "$layer/root" env HOME=/home $COMMAND --port "$PORT"
"""

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_image_of_the_recipe_serves_a_member(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    assert [name for name, _ in STEPS] == [
        *("FROM", "COPY", "RUN", "USER", "VOLUME"),
        *("EXPOSE", "STOPSIGNAL"),
        *ENTRY,
    ]
    steps, source, layer, port = dict(STEPS), tmp_path / "src", tmp_path / "layer", free_port()
    assert steps["COPY"] == ". /src"
    layer.mkdir()
    subprocess.run(["git", "checkout-index", "-a", f"--prefix={source}/"], cwd=ROOT, check=True)
    variables = {
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        "PATH": PATH,
        "RUN": steps["RUN"],
        "CONTAINER_USER": steps["USER"],
        "COMMAND": shlex.join(word for name in ENTRY for word in json.loads(steps[name])),
        "PORT": str(port),
    }
    command = ["unshare", "--mount", "sh", "-euc", SCRIPT, "sh", str(layer), str(source)]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        token = find_token(server.stdout)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/api/assets").status_code == 401
            client.headers["authorization"] = f"Bearer {token}"
            picture = next((ROOT / "examples" / "memes").glob("*.jpg")).read_bytes()
            stored = client.post("/api/upload", files={"file": ("a.jpg", picture, "image/jpeg")})
            assert stored.status_code == 201, stored.text
        uid = Path(f"/proc/{server.pid}/status").read_text().partition("Uid:\t")[2].split()[0]
        server.send_signal(getattr(signal, steps["STOPSIGNAL"]))
        server.communicate(timeout=60)
    assert uid != "0"


def find_token(output: IO[str]) -> str:
    """Return the token among the lines that come until the server listens."""
    token = ""
    for line in output:
        token = token or (line.strip() if line.startswith("sploot_") else "")
        if '"listening"' in line:
            return token
    raise AssertionError("the server did not start")
