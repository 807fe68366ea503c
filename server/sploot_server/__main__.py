"""Entry point of `python -m sploot_server`."""

from sploot_server.cli import main

main()
