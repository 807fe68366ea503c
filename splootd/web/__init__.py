"""Web UI: a loopback HTTP server, its security checks, and the files that the browser loads."""
