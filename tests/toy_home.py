"""A home whose library server has no models: it finds the words of toy pictures and of file names.

As a program, it is that server: it prints its URL and serves until its standard input ends.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_library import live_library
from temp_home import Home, home_in


@contextmanager
def toy_home(folder: Path, **environ: str) -> Iterator[Home]:
    """Yield an empty home that uploads to a toy server of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, str(folder / "server")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "the server has not started"
        with home_in(folder / "home", SPLOOT_SERVER=url, **environ) as home:
            yield home
        server.stdin.close()


async def _serve(folder: Path) -> None:
    async with live_library(folder, tcp=True) as library:
        print(library.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
