"""`sploot config set` changes one line of the user's file."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.config import Config, read_toml, set_key_in_toml, write_value
from splootd.errors import ConfigError

KEPT = """\
# my library
server = "https://memes.example"  # at home

connections = 2 # slow uplink
"""


def test_other_lines_and_comments_stay():
    assert set_key_in_toml(KEPT, "connections", 3) == KEPT.replace("connections = 2 # slow uplink", "connections = 3")
    assert set_key_in_toml(KEPT, "settle_s", 5.0) == "settle_s = 5.0\n" + KEPT


def test_a_key_that_is_a_prefix_of_another_does_not_match_it():
    assert set_key_in_toml('token_command = "pass"\n', "token", "x") == 'token = "x"\ntoken_command = "pass"\n'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")))
def test_any_text_survives_a_round_trip(tmp_path_factory: pytest.TempPathFactory, text: str):
    file = tmp_path_factory.mktemp("config") / "config.toml"
    write_value(file, "token_command", text)
    assert read_toml(file) == {"token_command": text}


def test_what_is_written_is_what_is_loaded(tmp_path: Path):
    file = tmp_path / "new" / "config.toml"
    write_value(file, "server", "https://memes.example")
    write_value(file, "connections", 2)
    write_value(file, "server", "local")
    assert Config.load(file, {}) == Config(server="local", connections=2)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_is_a_link_stays_one(tmp_path: Path):
    kept = tmp_path / "dotfiles.toml"
    kept.write_text(KEPT)
    link = tmp_path / "config.toml"
    link.symlink_to(kept)
    write_value(link, "connections", 3)
    assert link.is_symlink()
    assert read_toml(kept)["connections"] == 3


def test_a_key_that_cannot_be_edited_safely_is_not_changed(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text('"server" = "local"\n')
    with pytest.raises(ConfigError):
        write_value(file, "server", "https://memes.example")
    assert file.read_text() == '"server" = "local"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]
