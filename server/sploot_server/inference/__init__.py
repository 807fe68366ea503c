"""Image analysis and text encoding, in worker processes."""
