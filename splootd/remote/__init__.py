"""The Sploot server, as seen from the daemon."""
