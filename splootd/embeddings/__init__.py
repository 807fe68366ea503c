"""Track each uploaded asset until its embedding is ready."""
