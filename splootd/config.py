"""Configuration and paths: loads TOML and environment into one frozen, validated value."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from splootd.app_dirs import SOCKET_NAME, find_app_dirs
from splootd.core import timetable
from splootd.errors import ConfigError
from splootd.server_url import check_server_url

LOCAL = "local"
BROWSER_UPLOADS = "browser-uploads"
ENVIRONMENT_VARIABLES = {"server": "SPLOOT_SERVER", "log_level": "SPLOOT_LOG_LEVEL"}  # they override the file
LOG_LEVELS = ("debug", "info", "warning", "error", "fatal")
CONFIG_BYTES_MAX = 1_000_000
LIBRARY_TYPES = (
    *("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic", "image/heif"),
    *("video/mp4", "video/quicktime", "video/webm"),
)


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """Type, allowed values and validation of one key.

    `check` returns False for an invalid value, or raises ValueError with a message; `allowed` describes valid values.
    `choices` are the values of a key that has only a few.
    """

    kind: type
    allowed: str
    check: Callable[[Any], bool]
    description: str
    choices: tuple[str, ...] = ()


def _is_server(value: str) -> bool:
    if value != LOCAL:
        check_server_url(value)
    return True


def _is_bandwidth_limit(value: str) -> bool:
    timetable.parse(value)
    return True


def _are_library_types(value: str) -> bool:
    return not value or set(value.split(",")) <= set(LIBRARY_TYPES)


def _is_port(value: int) -> bool:
    return not value or 1024 <= value <= 65_535


def _one_of(choices: tuple[str, ...], description: str) -> ConfigKey:
    allowed = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return ConfigKey(str, allowed, lambda value: value in choices, description, choices)


def _between(low: float, high: float) -> Callable[[float], bool]:
    return lambda value: low <= value <= high


CONFIG_KEYS: Mapping[str, ConfigKey] = {
    "server": ConfigKey(str, f"`{LOCAL}` or a URL such as https://sploot.example", _is_server, "server to upload to"),
    "token_command": ConfigKey(
        str, "a command line", lambda _: True, "command that prints a token for the server, run for each new token"
    ),
    "log_level": _one_of(LOG_LEVELS, "minimum level of the log"),
    "connections": ConfigKey(
        int, "a whole number from 1 to 4", _between(1, 4), "connections to the server, one of them for control calls"
    ),
    "read_buffer_bytes": ConfigKey(
        int, "1000000 to 100000000", _between(1_000_000, 100_000_000), "memory for file contents"
    ),
    "settle_s": ConfigKey(
        float, "0 to 3600 seconds", _between(0, 3600), "seconds that a file must stay unchanged before its upload"
    ),
    "rescan_interval_s": ConfigKey(
        float, "60 to 86400 seconds", _between(60, 86_400), "seconds between full scans of the watched folders"
    ),
    "embedding_worker_idle_s": ConfigKey(
        float, "1 to 86400 seconds", _between(1, 86_400), "stop the embedding worker after this many idle seconds"
    ),
    "library_types": ConfigKey(
        str,
        f"some of {', '.join(LIBRARY_TYPES)}, separated by commas without spaces; or empty for the images that it can"
        " decode",
        _are_library_types,
        "file types that the local library accepts",
        LIBRARY_TYPES,
    ),
    "embedding_timeout_s": ConfigKey(
        float,
        "60 to 604800 seconds",
        _between(60, 604_800),
        "seconds after which an unfinished embedding is stuck at the latest",
    ),
    "bandwidth_limit": ConfigKey(
        str,
        f"a rate in bytes per second such as 500k or 2M, at least {timetable.RATE_MIN // 1000}k; or a timetable such as"
        " 08:00-23:00=500k,else=none; or empty for no limit",
        _is_bandwidth_limit,
        "upload rate limit for a remote server",
    ),
    "send_file_names": _one_of(
        ("yes", "no"), "send the name of each file and of its folder to a library server that keeps them"
    ),
    "on_metered_network": _one_of(("pause", "send"), "pause or continue uploads on a metered network"),
    "desktop_notifications": _one_of(("auto", "yes", "no"), "show desktop notifications for required actions"),
    "metrics_port": ConfigKey(
        int, "0 for none, or 1024 to 65535", _is_port, "port of the Prometheus metrics on 127.0.0.1"
    ),
    "ui_port": ConfigKey(int, "0 for any, or 1024 to 65535", _is_port, "port of the web UI on 127.0.0.1"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the user. Sizes are bytes, durations seconds."""

    server: str = LOCAL
    token_command: str = ""
    log_level: str = "info"
    connections: int = 4
    read_buffer_bytes: int = 100_000_000
    settle_s: float = 2.0
    rescan_interval_s: float = 3600.0
    embedding_worker_idle_s: float = 30.0
    library_types: str = ""
    embedding_timeout_s: float = 1_800.0
    bandwidth_limit: str = ""
    send_file_names: str = "yes"
    on_metered_network: str = "pause"
    desktop_notifications: str = "auto"
    metrics_port: int = 0
    ui_port: int = 0
    # From the environment only: configuration files end up in backups and repositories.
    token: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        return self.server == LOCAL

    @property
    def configured_token(self) -> str:
        """The token, or the command that prints it, if `sploot login` did not save it; empty without one."""
        return self.token or self.token_command

    @classmethod
    def load(cls, file: Path, environ: Mapping[str, str]) -> "Config":
        """Load `file` and apply the environment variables over it. Raises ConfigError."""
        values = {name: validate(name, value, str(file)) for name, value in read_toml(file).items()}
        for name, variable in ENVIRONMENT_VARIABLES.items():
            if environ.get(variable):
                values[name] = validate(name, environ[variable], f"the environment variable {variable}")
        return cls(**values, token=environ.get("SPLOOT_TOKEN", ""))

    def get(self, name: str) -> Any:
        get_key(name, "the command line")
        return getattr(self, name)


def read_toml(file: Path) -> dict[str, Any]:
    """Return the raw table of `file`, empty when the file does not exist. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            text = stream.read(CONFIG_BYTES_MAX)
        return tomllib.loads(text.decode())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not valid TOML: {error}", "fix the file, or move it away to use the defaults"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "check the permissions of the file") from error


def name_token_source(token: str) -> str:
    """Return what a configured token comes from; `token` is that of the environment, or empty."""
    return "SPLOOT_TOKEN" if token else "the output of `token_command`"


def get_key(name: str, source: str) -> ConfigKey:
    if name not in CONFIG_KEYS:
        raise ConfigError(f"{source} has an unknown key `{name}`", f"valid keys: {', '.join(CONFIG_KEYS)}")
    return CONFIG_KEYS[name]


def validate(name: str, value: Any, source: str) -> Any:
    """Return `value` as the type of the key. Raises ConfigError for an invalid value."""
    key = get_key(name, source)
    if key.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, str):
        value = value.strip()
    detail = ""
    try:
        is_valid = type(value) is key.kind and key.check(value)
    except ValueError as error:
        is_valid, detail = False, f": {error}"
    if not is_valid:
        raise ConfigError(f"{source} sets `{name}` to {value!r}{detail}", f"allowed for `{name}`: {key.allowed}")
    return value


def parse_value(name: str, text: str) -> Any:
    """Parse the value of a key from the command line. Raises ConfigError."""
    key = get_key(name, "the command line")
    try:
        value = key.kind(text)
    except ValueError:
        value = text
    return validate(name, value, "the command line")


def write_value(file: Path, name: str, value: Any) -> None:
    """Set one key in `file` and keep all other lines, comments included; ConfigError if that is impossible."""
    try:
        # rename() would replace a symbolic link, for example into a dotfiles repository, by a plain file.
        file = file.resolve()
        text = set_key_in_toml(file.read_text() if file.exists() else "", name, value)
        # The edit works on lines, so a key in a table or inside a multi-line string defeats it: parse before replacing.
        if tomllib.loads(text).get(name) != value:
            raise ConfigError(f"`{name}` cannot be changed automatically in {file}", "edit the file")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.new")
        temporary.write_text(text)
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", "check the permissions") from error
    except ValueError as error:
        raise ConfigError(f"{file} cannot hold `{name}` = {value!r}: {error}", "edit the file") from error


def set_key_in_toml(text: str, name: str, value: Any) -> str:
    """Return the TOML `text` with one key set. TOML's basic strings and numbers are written like those of JSON."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    text, replacements = re.subn(rf"(?m)^[ \t]*{name}[ \t]*=.*$", lambda _: line, text, count=1)
    return text if replacements else f"{line}\n{text}"  # before any table: a key after one would belong to it


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths of one profile. `state` and `runtime` are folders of mode 0700."""

    config_file: Path
    state: Path
    runtime: Path

    @property
    def socket(self) -> Path:
        return self.runtime / SOCKET_NAME

    @property
    def local_server_socket(self) -> Path:
        return self.runtime / "library.sock"

    @property
    def lock(self) -> Path:
        return self.state / "splootd.lock"

    @property
    def database(self) -> Path:
        return self.state / "queue.db"

    @property
    def backups(self) -> Path:
        return self.state / "backups"

    @property
    def library(self) -> Path:
        return self.state / "library"

    @property
    def log(self) -> Path:
        return self.state / "splootd.log"

    @property
    def web_ui_file(self) -> Path:
        return self.state / "web-ui.json"

    @property
    def browser_uploads(self) -> Path:
        return self.state / BROWSER_UPLOADS

    @property
    def token_file(self) -> Path:
        return self.state / "token"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Paths":
        """Return the paths of this user and profile."""
        config, state, runtime = find_app_dirs(environ)
        return cls(Path(config, "config.toml"), Path(state), Path(runtime))

    def create(self) -> None:
        """Create the folders with access for the user only."""
        for folder in (self.state, self.runtime):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


_missing_keys = {entry.name for entry in fields(Config)} - set(CONFIG_KEYS) - {"token"}
if _missing_keys:
    raise AssertionError(f"fields of Config without an entry in CONFIG_KEYS: {_missing_keys}")
