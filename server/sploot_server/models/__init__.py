"""Models that users add to a library: found, fetched, verified, unpacked and installed."""
