"""Configuration: typed, validated, and a mistake names the key, what was found and what is allowed."""

import os
from pathlib import Path

import pytest

from splootd.config import KEYS, Config, Paths, from_text
from splootd.errors import ConfigError
from splootd.places import SOCKET_PATH_BYTES_MAX


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return Config.load(file, environ)


def test_without_a_file_everything_stands_at_its_default(tmp_path: Path):
    config = Config.load(tmp_path / "none.toml", {})
    assert config == Config()
    assert config.is_local


def test_every_key_has_a_default_that_it_allows():
    for name, key in KEYS.items():
        value = getattr(Config(), name)
        assert type(value) is key.kind, name
        assert key.check(value), name


def test_the_environment_beats_the_file(tmp_path: Path):
    config = load(tmp_path, 'server = "https://memes.example"\nlog_level = "debug"', SPLOOT_SERVER="local")
    assert config.server == "local"
    assert config.log_level == "debug"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("connections = 9", r"sets `connections` to 9"),
        ('connections = "4"', r"sets `connections` to '4'"),
        ("connections = true", r"sets `connections` to True"),
        ('server = "ftp://x"', r"sets `server` to 'ftp://x'"),
        ('log_level = "loud"', r"sets `log_level` to 'loud'"),
        ("colour = 1", r"unknown key `colour`"),
        ("server = ", r"not valid TOML"),
    ],
)
def test_a_mistake_names_the_key_what_was_found_and_what_is_allowed(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        load(tmp_path, text)
    assert caught.value.hint


def test_a_whole_number_will_do_for_seconds(tmp_path: Path):
    assert load(tmp_path, "settle_s = 3").settle_s == 3.0


def test_words_from_a_command_line_become_values_of_the_right_type():
    assert from_text("connections", "2") == 2
    assert from_text("settle_s", "0.5") == 0.5
    with pytest.raises(ConfigError, match="to 'many'"):
        from_text("connections", "many")


def test_a_token_cannot_be_printed():
    assert "s3cret" not in repr(Config(token="s3cret"))


def test_one_folder_can_hold_everything(tmp_path: Path):
    paths = Paths.find({"SPLOOT_HOME": str(tmp_path)})
    assert all(part.is_relative_to(tmp_path) for part in (paths.config_file, paths.state, paths.socket))


def test_a_socket_path_is_never_too_long_for_the_system(tmp_path: Path):
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    one, other = Paths.find({"SPLOOT_HOME": str(deep)}), Paths.find({"SPLOOT_HOME": str(deep / "f")})
    assert len(os.fsencode(one.socket)) <= SOCKET_PATH_BYTES_MAX
    assert one.socket != other.socket


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('limit = "fast"', r"sets `limit` to 'fast': 'fast' is no rate"),
        ('limit = "08:00-23:00=1M"', r"must be else="),
        ('metered = "maybe"', r"sets `metered` to 'maybe'"),
        ("notify = true", r"sets `notify` to True"),
        ("metrics_port = 80", r"sets `metrics_port` to 80"),
    ],
)
def test_a_mistake_about_manners_is_named(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, text)


def test_a_limit_may_depend_on_the_hour(tmp_path: Path):
    assert load(tmp_path, 'limit = "08:00-23:00=500k,else=none"').limit.startswith("08:00")
