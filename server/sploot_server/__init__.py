"""A library server that speaks the HTTP API of Sploot."""

__version__ = "0.1.0"
