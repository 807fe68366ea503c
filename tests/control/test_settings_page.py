"""The settings that a page may change, the folders that it completes, and the retries that it offers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from control_fixtures import ControlApi, serve_control_api

from splootd.config import LIBRARY_TYPES, Config, read_toml
from splootd.control.remedies import can_retry
from splootd.control.settings_page import EDITABLE_KEYS, FOLDERS_MAX, change_setting, find_folders
from splootd.core.error_code import ErrorCode
from splootd.core.item import State
from splootd.credentials import TokenOrigins
from splootd.errors import RequestError
from splootd.protocol import Add, AddReply, ChangeSetting, GetSettings, MessageReply, Settings

TEAM = "https://memes.example"


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


async def change(control_api: ControlApi, key: str, value: str, **fields: Any) -> MessageReply:
    return await control_api.request(ChangeSetting(key, value, **fields), MessageReply)


async def test_a_changed_setting_is_written_and_restarts_the_daemon(control_api: ControlApi):
    file = control_api.context.paths.config_file
    file.write_text("# mine\nconnections = 4 # all\n")
    assert (await change(control_api, "connections", "2")).restart
    assert file.read_text() == "# mine\nconnections = 2\n"
    assert control_api.shutdowns == ["restart"]
    assert not (await change(control_api, "connections", "4")).restart, "the running daemon has this value"
    reply = await control_api.request(GetSettings(), Settings)
    assert [setting.key for setting in reply.settings] == list(EDITABLE_KEYS)
    choices = {setting.key: setting.choices for setting in reply.settings}
    assert (choices["library_types"], choices["on_metered_network"]) == (LIBRARY_TYPES, ("pause", "send"))
    assert choices["bandwidth_limit"] == ()
    assert {"connections": "4", "server": "local"}.items() <= {row.key: row.value for row in reply.settings}.items()


@pytest.mark.parametrize("key", ["token_command", "token", "ui_port", "log_level", "nonsense"])
async def test_keys_that_run_programs_or_open_ports_are_not_changed(control_api: ControlApi, key: str):
    with pytest.raises(RequestError, match="cannot be changed here"):
        await change(control_api, key, "1024")
    assert not control_api.context.paths.config_file.exists()


async def test_an_invalid_value_or_file_changes_nothing(control_api: ControlApi):
    file = control_api.context.paths.config_file
    with pytest.raises(RequestError, match="connections"):
        await change(control_api, "connections", "9")
    file.write_text("connections = [")
    with pytest.raises(RequestError, match="not valid TOML"):
        await change(control_api, "connections", "2")
    assert file.read_text() == "connections = ["
    assert not control_api.shutdowns


async def test_a_new_server_is_confirmed_with_what_it_will_receive(control_api: ControlApi):
    await control_api.request(Add((str(control_api.folder),)), AddReply)
    with pytest.raises(RequestError, match=f"memes.* will be uploaded to {TEAM}") as raised:
        await change(control_api, "server", TEAM)
    assert raised.value.code == "not_confirmed"
    assert not control_api.shutdowns
    await change(control_api, "server", TEAM, confirmed=True)
    assert read_toml(control_api.context.paths.config_file) == {"server": TEAM}


async def test_a_page_cannot_send_a_token_to_another_server(control_api: ControlApi):
    context = replace(control_api.context, config=Config(token_command="pass sploot"))
    with pytest.raises(RequestError, match="`token_command` would be sent to"):
        await change_setting(context, ChangeSetting("server", TEAM, confirmed=True), {})
    TokenOrigins(context.paths.token_file).record("pass sploot", "https://other.example:443")
    await change_setting(context, ChangeSetting("server", TEAM, confirmed=True), {})


async def test_a_setting_of_the_environment_is_left_alone(control_api: ControlApi):
    request = ChangeSetting("server", TEAM, confirmed=True)
    with pytest.raises(RequestError, match="SPLOOT_SERVER sets `server`"):
        await change_setting(control_api.context, request, {"SPLOOT_SERVER": "local"})


def test_folders_are_found_in_the_home_only(tmp_path: Path):
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home / "Pictures" / "memes", home / "pics", home / ".secret", other / "private"):
        folder.mkdir(parents=True)
    (home / "picture.png").touch()
    (home / "link").symlink_to(other)
    assert find_folders("~/pic", home).folders == (str(home / "Pictures"), str(home / "pics"))
    assert find_folders(f"{home}/Pictures/", home).folders == (str(home / "Pictures" / "memes"),)
    for text in ("~/.", f"{other}/", "~/../other/", "~/link/", "/", "", "pic", "~/\0", "~/nothing/"):
        assert find_folders(text, home).folders == (), text
    for number in range(FOLDERS_MAX + 5):
        (home / f"z{number}").mkdir()
    assert len(find_folders("~/z", home).folders) == FOLDERS_MAX


async def test_a_retry_is_offered_where_it_can_help(control_api: ControlApi):
    await control_api.add("a.png")
    item, file = await control_api.context.read_queries.get_item(1), control_api.folder / "a.png"
    assert item is not None
    big = item._replace(state=State.FAILED, error_code=ErrorCode.TOO_LARGE)
    assert can_retry(item._replace(state=State.FAILED, error_code=ErrorCode.CONNECTION_LOST))
    assert not can_retry(item._replace(error_code=ErrorCode.CONNECTION_LOST)), "it is retried without the user"
    assert not can_retry(big, read_file=True)
    file.write_bytes(b"smaller")
    assert not can_retry(big)
    assert can_retry(big, read_file=True), "the file is another one now"
    file.unlink()
    assert not can_retry(big, read_file=True)
