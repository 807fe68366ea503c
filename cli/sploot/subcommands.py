"""The commands that have commands below them: folders, config, daemon. As `commands.py`, for Typer."""
# ruff: noqa: PLC0415 - what a command needs is imported when it runs

from typing import Annotated

import typer

from sploot import exits

folders_app = typer.Typer(help="The watched folders and their health.", rich_markup_mode=None)
config_app = typer.Typer(help="Read and change the configuration.", no_args_is_help=True, rich_markup_mode=None)
daemon_app = typer.Typer(help="Start and stop the daemon.", no_args_is_help=True, rich_markup_mode=None)

service_app = typer.Typer(help="Have the daemon there at login.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@folders_app.callback()
def folders(context: typer.Context, as_json: Json = False) -> int:
    if context.invoked_subcommand is not None:
        return exits.DONE
    from sploot import looking

    return looking.folders(as_json=as_json)


@folders_app.command("remove")
def remove_folder(path: Annotated[str, typer.Argument(metavar="PATH")]) -> int:
    """Stop watching a folder; what is queued stays queued."""
    from sploot import changing

    return changing.remove_folder(path)


@config_app.command("get")
def config_get(key: str, as_json: Json = False) -> int:
    """The value of one key."""
    from sploot import settings

    return settings.get(key, as_json=as_json)


@config_app.command("set")
def config_set(key: str, value: str) -> int:
    """Change one key; a running daemon begins anew with it."""
    from sploot import settings

    return settings.set_value(key, value)


@config_app.command("list")
def config_list(as_json: Json = False) -> int:
    """All keys, with their values and what they may be."""
    from sploot import settings

    return settings.list_all(as_json=as_json)


@config_app.command("path")
def config_path() -> int:
    """Where the file is."""
    from sploot import settings

    return settings.path()


@service_app.command("install")
def service_install() -> int:
    """Start it at login from now on: by systemd, launchd, or the desktop."""
    from sploot import service

    return service.install()


@service_app.command("uninstall")
def service_uninstall() -> int:
    """Start it at login no more."""
    from sploot import service

    return service.uninstall()


@service_app.command("status")
def service_status(as_json: Json = False) -> int:
    """Whether it is there at login; exit code 1 when it is not."""
    from sploot import service

    return service.status(as_json=as_json)


@daemon_app.command("start")
def daemon_start() -> int:
    """Start it, if it is not running."""
    from sploot import daemon

    return daemon.start_it()


@daemon_app.command("stop")
def daemon_stop() -> int:
    """Let it finish what is under way, and end."""
    from sploot import daemon

    return daemon.stop_it()


@daemon_app.command("restart")
def daemon_restart() -> int:
    """End it and start it again."""
    from sploot import daemon

    return daemon.restart()


@daemon_app.command("run")
def daemon_run() -> int:
    """Run it here, in the foreground."""
    from sploot import daemon

    return daemon.run()


# What is kept, for `commands.py`.


def undo(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...")] = None,
    last: Annotated[bool, typer.Option("--last", help="The file that was put away last.")] = False,
    as_json: Json = False,
) -> int:
    """Bring back files that were put away after sending."""
    from sploot import keeping

    return keeping.undo(ids or [], last=last, as_json=as_json)


def backup(file: Annotated[str, typer.Argument(metavar="FILE")]) -> int:
    """Copy the queue and the ledger to a file, while they are in use."""
    from sploot import keeping

    return keeping.backup(file)


def restore(file: Annotated[str, typer.Argument(metavar="FILE")]) -> int:
    """Go back to a copy of the queue and the ledger; the present ones are kept beside it."""
    from sploot import restoring

    return restoring.restore(file)


def ui(
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print where it is.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Shut out every browser that was let in before.")] = False,
    as_json: Json = False,
) -> int:
    """The page: the queue and the library in a browser on this machine."""
    from sploot import ui as it

    return it.ui(is_opening=not no_open, reset=reset, as_json=as_json)
