"""Every option of `sploot-server` has an environment variable."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sploot_server.admin.commands import build_parser
from sploot_server.cli import server_parser, worker_parser
from sploot_server.environment import PREFIX, variable_name

Build = Callable[[], argparse.ArgumentParser]
PARSERS = [pytest.param(server_parser, id="server"), pytest.param(worker_parser, id="worker")]


def options(build: Build) -> Iterator[argparse.Action]:
    return (action for action in build()._actions if variable_name(action))


def example(action: argparse.Action) -> tuple[str, object]:
    """Return a text for an option that is not its default, and the value that it stands for."""
    if action.nargs == 0:
        return "yes", True
    if action.choices is not None:
        return "debug", "debug"
    convert = action.type if callable(action.type) else str
    return "7", convert("7")


@pytest.mark.parametrize("build", PARSERS)
def test_each_option_can_be_set_by_its_variable(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    for action in options(build):
        text, value = example(action)
        with monkeypatch.context() as patch:
            patch.setenv(f"{PREFIX}DATA", "7")  # the one required option
            patch.setenv(str(variable_name(action)), text)
            assert getattr(build().parse_args([]), action.dest) == value, action.dest


@pytest.mark.parametrize("build", PARSERS)
def test_the_help_names_the_variable_of_each_option(build: Build) -> None:
    shown = " ".join(build().format_help().split())
    for action in options(build):
        assert f"[{variable_name(action)}]" in shown


def test_the_command_line_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLOOT_SERVER_PORT", "1")
    monkeypatch.setenv("SPLOOT_SERVER_DATA", "/one")
    arguments = server_parser().parse_args(["--port", "2", "--data", "/two"])
    assert (arguments.port, arguments.data) == (2, Path("/two"))


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PORT", "http", "SPLOOT_SERVER_PORT=http is not a valid value of --port"),
        ("ACCOUNTS", "maybe", "SPLOOT_SERVER_ACCOUNTS=maybe is not a valid value of --accounts"),
        ("LOG_LEVEL", "loud", "SPLOOT_SERVER_LOG_LEVEL=loud is not one of debug, info"),
    ],
)
def test_an_invalid_variable_is_named(
    variable: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{PREFIX}{variable}", text)
    with pytest.raises(SystemExit):
        server_parser()
    assert message in capsys.readouterr().err


def test_the_environment_selects_the_library_of_an_admin_command_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in {"DATA": "/team", "DATABASE": "postgresql://x/y", "WITH_PICTURES": "yes"}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", text)
    arguments = build_parser().parse_args(["user", "remove", "ben"])
    assert (arguments.data, arguments.database) == (Path("/team"), "postgresql://x/y")
    assert arguments.with_pictures is False
