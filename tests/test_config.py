"""Configuration is typed and validated; an error names the key, the value and the allowed values."""

import os
from pathlib import Path

import pytest
from sploot_server.domain.sniff import EXTENSIONS

from splootd.app_dirs import SOCKET_PATH_BYTES_MAX
from splootd.config import CONFIG_KEYS, LIBRARY_TYPES, Config, Paths, parse_value
from splootd.errors import ConfigError


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return Config.load(file, environ)


def test_without_a_file_all_values_are_defaults(tmp_path: Path):
    config = Config.load(tmp_path / "none.toml", {})
    assert config == Config()
    assert config.is_local


def test_every_default_is_valid():
    for name, key in CONFIG_KEYS.items():
        value = getattr(Config(), name)
        assert type(value) is key.kind, name
        assert key.check(value), name


def test_the_environment_overrides_the_file(tmp_path: Path):
    config = load(tmp_path, 'server = "https://memes.example"\nlog_level = "debug"', SPLOOT_SERVER="local")
    assert config.server == "local"
    assert config.log_level == "debug"


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_an_error_names_the_key_the_value_and_what_is_allowed(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert caught.value.hint


def test_an_integer_is_valid_for_seconds(tmp_path: Path):
    assert load(tmp_path, "settle_s = 3").settle_s == 3.0


def test_command_line_text_is_parsed_to_the_type_of_the_key():
    assert parse_value("connections", "2") == 2
    assert parse_value("settle_s", "0.5") == 0.5
    with pytest.raises(ConfigError, match="to 'many'"):
        parse_value("connections", "many")


def test_repr_hides_the_token():
    assert "s3cret" not in repr(Config(token="s3cret"))


def test_sploot_home_contains_all_paths(tmp_path: Path):
    paths = Paths.from_environ({"SPLOOT_HOME": str(tmp_path)})
    assert all(part.is_relative_to(tmp_path) for part in (paths.config_file, paths.state, paths.socket))


def test_a_socket_path_never_exceeds_the_system_limit(tmp_path: Path):
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    one, other = Paths.from_environ({"SPLOOT_HOME": str(deep)}), Paths.from_environ({"SPLOOT_HOME": str(deep / "f")})
    assert len(os.fsencode(one.socket)) <= SOCKET_PATH_BYTES_MAX
    assert one.socket != other.socket


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('bandwidth_limit = "fast"', r"sets `bandwidth_limit` to 'fast': 'fast' is not a rate"),
        ('bandwidth_limit = "08:00-23:00=1M"', r"must be else="),
        ('on_metered_network = "maybe"', r"sets `on_metered_network` to 'maybe'"),
        ("desktop_notifications = true", r"sets `desktop_notifications` to True"),
        ("metrics_port = 80", r"sets `metrics_port` to 80"),
    ],
)
def test_an_invalid_network_setting_is_reported(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_the_bandwidth_limit_accepts_a_timetable(tmp_path: Path):
    assert load(tmp_path, 'bandwidth_limit = "08:00-23:00=500k,else=none"').bandwidth_limit.startswith("08:00")


@pytest.mark.parametrize("value", ["http://127.0.0.1:99999", "http://a b", "http://a?y=z#f", "http://me:word@a"])
def test_an_address_that_cannot_work_is_refused_from_file_environment_and_command_line_alike(
    tmp_path: Path, value: str
):
    with pytest.raises(ConfigError, match="sets `server`"):
        load(tmp_path, f'server = "{value}"')
    with pytest.raises(ConfigError, match="SPLOOT_SERVER sets `server`"):
        load(tmp_path, "", SPLOOT_SERVER=value)
    with pytest.raises(ConfigError, match="the command line sets `server`"):
        parse_value("server", value)


def test_white_space_around_an_address_is_removed(tmp_path: Path):
    assert load(tmp_path, 'server = " http://a "').server == "http://a"
    assert load(tmp_path, "", SPLOOT_SERVER=" http://a\n").server == "http://a"
    assert parse_value("server", " http://a ") == "http://a"


def test_the_types_of_the_local_library_are_those_that_the_server_knows(tmp_path: Path):
    assert set(LIBRARY_TYPES) == set(EXTENSIONS)
    assert load(tmp_path, 'library_types = "image/png,video/mp4"').library_types == "image/png,video/mp4"
    with pytest.raises(ConfigError, match="library_types"):
        load(tmp_path, 'library_types = "image/png,image/tiff"')
