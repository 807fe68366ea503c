"""sploot-server as it is, but that nobody reads the pictures, which costs seconds: python -m lab.library ..."""

from pathlib import Path
from typing import NoReturn

from sploot_server import serve
from sploot_server.app import main
from sploot_server.embedding import Unavailable
from sploot_server.workers import WorkerEmbedder


class Blind(WorkerEmbedder):
    async def read(self, picture: Path) -> NoReturn:
        raise Unavailable("Nobody reads here.")


if __name__ == "__main__":
    vars(serve)["WorkerEmbedder"] = Blind
    main()
