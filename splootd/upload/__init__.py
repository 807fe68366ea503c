"""Upload claimed items: read the file, look it up by hash, send it, record the result."""
