"""The control API: what commands and pages ask of the daemon, over HTTP on its own socket."""
