"""sploot-server without image analysis, which takes seconds: python -m lab.library ..."""

from pathlib import Path
from typing import NoReturn

from sploot_server import app
from sploot_server.cli import main
from sploot_server.domain.embedding import EmbedderUnavailable
from sploot_server.inference.worker_pool import WorkerEmbedder


class UnavailableEmbedder(WorkerEmbedder):
    async def analyze_image(self, picture: Path) -> NoReturn:
        raise EmbedderUnavailable("disabled in this test")


if __name__ == "__main__":
    vars(app)["WorkerEmbedder"] = UnavailableEmbedder
    main()
