"""`sploot config` changes one line of a file that belongs to the user."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot.settings import edited, write

from splootd.config import Config, read_toml
from splootd.errors import ConfigError

KEPT = """\
# my library
server = "https://memes.example"  # at home

connections = 2 # slow line
"""


def test_other_lines_and_comments_stay():
    assert edited(KEPT, "connections", 3) == KEPT.replace("connections = 2 # slow line", "connections = 3")
    assert edited(KEPT, "settle_s", 5.0) == "settle_s = 5.0\n" + KEPT


def test_a_key_that_another_one_begins_with_is_left_alone():
    assert edited('token_command = "pass"\n', "token", "x") == 'token = "x"\ntoken_command = "pass"\n'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str):
    file = tmp_path_factory.mktemp("config") / "config.toml"
    write(file, "token_command", text)
    assert read_toml(file) == {"token_command": text}


def test_what_is_written_is_what_is_loaded(tmp_path: Path):
    file = tmp_path / "new" / "config.toml"
    write(file, "server", "https://memes.example")
    write(file, "connections", 2)
    write(file, "server", "local")
    assert Config.load(file, {}) == Config(server="local", connections=2)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_is_a_link_stays_one(tmp_path: Path):
    kept = tmp_path / "dotfiles.toml"
    kept.write_text(KEPT)
    link = tmp_path / "config.toml"
    link.symlink_to(kept)
    write(link, "connections", 3)
    assert link.is_symlink()
    assert read_toml(kept)["connections"] == 3


def test_what_only_a_person_can_edit_is_left_as_it_is(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text('"server" = "local"\n')
    with pytest.raises(ConfigError):
        write(file, "server", "https://memes.example")
    assert file.read_text() == '"server" = "local"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]
