"""The use cases of a library: add, get, edit, delete, search, embed."""
