"""A `splootd` whose embedded library stores and never reads a picture, so that only the storing is measured."""

from pathlib import Path

from splootd.daemon import main
from splootd.work import embedded

if __name__ == "__main__":
    embedded.PROGRAM = (str(Path(__file__).resolve().parent / "quiet_library.py"),)
    main()
