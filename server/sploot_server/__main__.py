"""`python -m sploot_server`."""

from sploot_server.app import main

main()
