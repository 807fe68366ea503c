"""Every command with its options, for Typer. Each calls one function elsewhere, which returns the exit code.

Those functions are imported when their command runs: who asks for one thing should not wait for all.
"""
# ruff: noqa: PLC0415 - see above

import os
from typing import Annotated, Any

import typer

from sploot.subcommands import Json, backup, config_app, daemon_app, folders_app, restore, service_app, ui, undo
from splootd import __version__

SETTINGS: dict[str, Any] = {
    "name": "sploot",
    "help": "Every meme in a folder, in the library, searchable, exactly once.",
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
app = typer.Typer(**SETTINGS)
app.add_typer(folders_app, name="folders", invoke_without_command=True)
app.add_typer(config_app, name="config")
app.add_typer(daemon_app, name="daemon")
app.add_typer(service_app, name="service")

Targets = Annotated[list[str], typer.Argument(metavar="PATH|ID...", help="Files, or the ids that `sploot list` shows.")]


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"sploot {__version__}")
        raise typer.Exit


def _profile(name: str) -> None:
    if not name:
        return
    from splootd.errors import ConfigError
    from splootd.places import checked_profile

    try:
        os.environ["SPLOOT_PROFILE"] = checked_profile(name)  # for the daemon too, if this command starts it
    except ConfigError as error:
        raise typer.BadParameter(f"{error.title}; {error.hint}") from None


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    profile: Annotated[
        str, typer.Option(metavar="NAME", callback=_profile, help="One of several daemons, each with its own home.")
    ] = "",
) -> None:
    pass


@app.command()
def add(
    *,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH...", help="Files and folders.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Import folders without watching them.")] = False,
    priority: Annotated[str, typer.Option(help="urgent, normal or background.")] = "normal",
    tag: Annotated[list[str] | None, typer.Option(help="Tag for the library; may be given several times.")] = None,
    listing: Annotated[
        str | None, typer.Option("--from", metavar="FILE", help="Read paths from FILE, one a line; - is the input.")
    ] = None,
    null: Annotated[bool, typer.Option("--null", help="Paths in that list end with NUL.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Send again what was removed in the library.")] = False,
    after: Annotated[
        str,
        typer.Option(
            metavar="keep|trash|move:DIR", help="What becomes of files that the library has: verified, then put away."
        ),
    ] = "keep",
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all of it has ended.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most, with --wait.")] = None,
    as_json: Json = False,
) -> int:
    """Queue files; import folders, and keep watching them."""
    from sploot import adding

    return adding.add(
        paths or (),
        once=once,
        priority=priority,
        tag=tag or (),
        listing=listing,
        null=null,
        dry_run=dry_run,
        force=force,
        after=after,
        wait=wait,
        timeout=timeout,
        as_json=as_json,
    )


@app.command()
def status(
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="0 everything ready, 1 work left, 4 needs you.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing it as it changes.")] = False,
    as_json: Json = False,
) -> int:
    """Everything at a glance."""
    from sploot import status as it

    return it.status(exit_code=exit_code, follow=follow, as_json=as_json)


@app.command("list")
def list_items(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    folder: Annotated[str | None, typer.Option(help="Only those of this watched folder.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those that failed for this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: Json = False,
) -> int:
    """Items, newest first."""
    from sploot import looking

    return looking.list_items(state=state, folder=folder, reason=reason, limit=limit, as_json=as_json)


@app.command()
def why(
    target: Annotated[str | None, typer.Argument(metavar="PATH|ID")] = None,
    slow: Annotated[bool, typer.Option("--slow", help="What holds everything up now, and what helps.")] = False,
    as_json: Json = False,
) -> int:
    """The whole story of one file; or why all of it is slow."""
    if (target is None) != slow:
        raise typer.BadParameter("name one file, or ask --slow")
    if target is None:
        from sploot import numbers

        return numbers.slow(as_json=as_json)
    from sploot import looking

    return looking.why(target, as_json=as_json)


@app.command()
def top() -> int:
    """Everything that goes on, on the whole screen: counts, transfers, the queue."""
    from sploot import top as it

    return it.top()


@app.command()
def metrics(as_json: Json = False) -> int:
    """What the daemon measures, as Prometheus reads it; with --json as a report."""
    from sploot import numbers

    return numbers.metrics(as_json=as_json)


@app.command()
def failed(as_json: Json = False) -> int:
    """Dead letters: what could not be sent, and why."""
    from sploot import looking

    return looking.failed(as_json=as_json)


@app.command()
def search(
    text: Annotated[list[str], typer.Argument(metavar="TEXT...")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 10,
    open_nth: Annotated[int | None, typer.Option("--open", metavar="N", help="Open match number N.")] = None,
    as_json: Json = False,
) -> int:
    """Memes that mean TEXT, best first."""
    from sploot import looking

    return looking.search(text, limit=limit, open_nth=open_nth, as_json=as_json)


@app.command()
def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...")] = None,
    reason: Annotated[str | None, typer.Option(help="All that failed for this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    as_json: Json = False,
) -> int:
    """Dead letters back into the queue, before all others."""
    from sploot import changing

    return changing.retry(ids or [], reason=reason, every=every, as_json=as_json)


@app.command()
def bump(targets: Targets, as_json: Json = False) -> int:
    """To the front of the queue."""
    from sploot import changing

    return changing.bump(targets, as_json=as_json)


@app.command()
def forget(targets: Targets, as_json: Json = False) -> int:
    """Out of the queue; never off the disk or the server."""
    from sploot import changing

    return changing.forget(targets, as_json=as_json)


@app.command()
def pause() -> int:
    """Stop sending, also over a restart."""
    from sploot import changing

    return changing.pause()


@app.command()
def resume() -> int:
    """Go on sending."""
    from sploot import changing

    return changing.resume()


@app.command()
def doctor(
    self_test: Annotated[
        bool, typer.Option(help="Send a tiny picture to the library, and delete it there for good.")
    ] = True,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read all of the queue's database: about 5 s for a million files.")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep it in FILE for a report, without secrets and file names.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Look whether all is well, and say which command mends what is not."""
    from sploot import doctor as it

    return it.doctor(self_test=self_test, thorough=thorough, as_json=as_json, bundle=bundle)


@app.command()
def login(
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from the input.")] = False,
    token_command: Annotated[str, typer.Option(metavar="CMD", help="A command that prints a token.")] = "",
) -> int:
    """Keep a token for the server."""
    from sploot import changing

    return changing.login(from_stdin=token_stdin, command=token_command)


@app.command()
def logout() -> int:
    """Forget the token."""
    from sploot import changing

    return changing.logout()


@app.command()
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    level: Annotated[str, typer.Option(help="The least level: debug, info, warning, error, fatal.")] = "debug",
) -> int:
    """The daemon's log."""
    from sploot import logs as it

    return it.logs(follow=follow, level=level)


for command in (ui, undo, backup, restore):
    app.command()(command)
