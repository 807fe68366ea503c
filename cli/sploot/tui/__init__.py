"""The terminal UI of `sploot top`."""
