"""Independent tus clients and servers from npm, installed once per checkout."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = ("@tus/server@2.4.5", "@tus/file-store@2.1.1", "tus-js-client@4.3.1")
INSTALL_S = 180

SERVER = """
import {Server} from "@tus/server"
import {FileStore} from "@tus/file-store"
const [directory, port] = process.argv.slice(2)
const server = new Server({path: "/files", datastore: new FileStore({directory})})
const http = server.listen({host: "127.0.0.1", port: Number(port)}, () => console.log(http.address().port))
"""

# Resumes the upload found in the URL storage; prints a line per response, and the asset at the end.
CLIENT = """
import fs from "node:fs"
import {FileUrlStorage, Upload} from "tus-js-client"
const [endpoint, file, storage] = process.argv.slice(2)
const upload = new Upload(fs.createReadStream(file), {
  endpoint,
  chunkSize: 512 * 1024,
  retryDelays: [100, 300, 1000, 3000],
  metadata: {filename: "größe.jpg", tags: '["by js"]'},
  urlStorage: new FileUrlStorage(storage),
  fingerprint: async () => file,
  storeFingerprintForResuming: true,
  onChunkComplete: (size, reached) => console.log("reached", reached - size, reached),
  onError: (error) => { console.log("error", error.message); process.exit(1) },
  onSuccess: ({lastResponse}) => console.log("asset", lastResponse.getHeader("Sploot-Asset-Id")),
})
const [before] = await upload.findPreviousUploads()
if (before) upload.resumeFromPreviousUpload(before)
upload.start()
"""


def installed(folder: Path) -> Path:
    """Install the packages and the two programs into `folder`. Skip the test if they are not available."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node 20 and npm: install them to test independent clients and servers")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test workers may install at the same time
        if not (folder / "server.mjs").exists():
            (folder / "package.json").write_text('{"private": true}')
            try:
                command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_S)
            except (subprocess.SubprocessError, OSError) as error:
                pytest.skip(f"needs {', '.join(PACKAGES)} from npm, which failed: {error}")
            (folder / "client.mjs").write_text(CLIENT)
            (folder / "server.mjs").write_text(SERVER)
    return folder


@contextmanager
def tus_server(packages: Path, directory: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run @tus/server with its files in `directory`; yield the process and its port."""
    command = ["node", "server.mjs", str(directory), str(port)]
    with subprocess.Popen(command, cwd=packages, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()
