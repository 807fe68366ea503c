"""Library server that implements the HTTP API of Sploot."""

__version__ = "0.1.0"
