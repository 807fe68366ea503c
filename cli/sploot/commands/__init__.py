"""One module per command: its implementation, and `register`, which defines it for Typer.

`register` imports Typer itself, because most command lines are parsed by `sploot.fast_path` and never need it. So these
modules must not use `from __future__ import annotations`: Typer would evaluate the annotations of a command in the
namespace of the module, which contains neither `typer` nor `Annotated`.
"""
