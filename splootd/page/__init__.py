"""The page: the queue and the library in a browser on this machine. `static/` holds what the browser runs."""
