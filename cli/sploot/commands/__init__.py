"""One module per command or group of commands. Its `COMMANDS` are the functions by the names that the user types.

The signature and the docstring of a function define its command. The annotations name objects of Typer, which most
command lines never import because `sploot.fast_path` parses them. So they are strings here, and `sploot.typer_app`
evaluates them with the names of `sploot.typer_options`.
"""
