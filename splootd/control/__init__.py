"""Control API of the daemon: HTTP on a Unix socket, for the command line and the web UI."""
