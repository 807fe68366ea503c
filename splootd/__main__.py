"""`python -m splootd`."""

from splootd.daemon import main

main()
