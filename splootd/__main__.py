"""Entry point of `python -m splootd`."""

from splootd.daemon import main

main()
