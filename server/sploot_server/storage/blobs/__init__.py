"""Content-addressed blob stores of the originals."""
