"""The daemon that takes every meme in a folder to the library, exactly once."""

__version__ = "0.1.0"
