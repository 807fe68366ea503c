"""Run a `splootd` whose local server stores images without analysing them, to measure storing alone."""

from pathlib import Path

from splootd.daemon import main
from splootd.system import local_server

if __name__ == "__main__":
    local_server.PROGRAM = (str(Path(__file__).resolve().parent / "server_without_analysis.py"),)
    main()
