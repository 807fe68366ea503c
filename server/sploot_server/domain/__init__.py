"""Domain values, errors and pure functions of the library."""
