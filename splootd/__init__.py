"""The daemon that takes every meme in a folder to the library, exactly once."""

__version__ = "0.1.0"
API = "1.0"  # of the control API: another first number is another language
