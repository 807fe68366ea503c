"""The configuration and where things lie: TOML and environment in, one frozen and validated value out."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from splootd.core import timetable
from splootd.errors import ConfigError
from splootd.places import SOCKET, places

LOCAL = "local"
LOG_LEVELS = ("debug", "info", "warning", "error", "fatal")
CONFIG_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """What one key may be: `check` says whether a value of type `kind` will do, `allowed` says it in words.

    `check` may raise a ValueError instead, with a sentence that says what is wrong.
    """

    kind: type
    allowed: str
    check: Callable[[Any], bool]
    about: str


def _is_server(value: str) -> bool:
    parts = urlsplit(value)
    return value == LOCAL or (parts.scheme in ("http", "https") and bool(parts.hostname))


def _is_limit(value: str) -> bool:
    timetable.parsed(value)
    return True


def _is_port(value: int) -> bool:
    return not value or 1024 <= value <= 65_535


def _among(*words: str) -> Callable[[str], bool]:
    return lambda value: value in words


def _between(low: float, high: float) -> Callable[[float], bool]:
    return lambda value: low <= value <= high


KEYS: Mapping[str, Key] = {
    "server": Key(str, f"`{LOCAL}` or an http(s) URL", _is_server, "which library to send to"),
    "token_command": Key(str, "a command line", lambda _: True, "prints a token for the server, run for every new one"),
    "log_level": Key(str, ", ".join(LOG_LEVELS), _among(*LOG_LEVELS), "how much the log says"),
    "connections": Key(int, "a whole number from 1 to 4", _between(1, 4), "lines to the server; one is for questions"),
    "memory_bytes": Key(int, "1000000 to 100000000", _between(1_000_000, 100_000_000), "file data held in memory"),
    "settle_s": Key(float, "0 to 3600 seconds", _between(0, 3600), "how long a file must rest before it is sent"),
    "look_interval_s": Key(
        float, "60 to 86400 seconds", _between(60, 86_400), "time between full looks at the folders"
    ),
    "library_idle_s": Key(float, "1 to 86400 seconds", _between(1, 86_400), "when the embedding worker is let go"),
    "embedding_patience_s": Key(
        float, "60 to 604800 seconds", _between(60, 604_800), "when an upload that is not made searchable is stuck"
    ),
    "limit": Key(
        str,
        f"bytes a second, as 500k or 2M and at least {timetable.RATE_MIN // 1000}k; or hours with such rates, as"
        " 08:00-23:00=500k,else=none; or nothing for no limit",
        _is_limit,
        "how fast to send to a remote server",
    ),
    "metered": Key(str, "pause or send", _among("pause", "send"), "what to do on a metered network"),
    "notify": Key(str, "auto, yes or no", _among("auto", "yes", "no"), "whether the desktop tells what needs you"),
    "metrics_port": Key(int, "0 for none, or 1024 to 65535", _is_port, "metrics on 127.0.0.1"),
    "page_port": Key(int, "0 for any, or 1024 to 65535", _is_port, "where `sploot ui` opens the page on 127.0.0.1"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """What the user decides. Sizes are bytes, durations seconds."""

    server: str = LOCAL
    token_command: str = ""
    log_level: str = "info"
    connections: int = 4
    memory_bytes: int = 100_000_000
    settle_s: float = 2.0
    look_interval_s: float = 3600.0
    library_idle_s: float = 30.0
    embedding_patience_s: float = 1_800.0
    limit: str = ""
    metered: str = "pause"
    notify: str = "auto"
    metrics_port: int = 0
    page_port: int = 0
    token: str = field(default="", repr=False)  # only ever from the environment: a file would keep it

    @property
    def is_local(self) -> bool:
        return self.server == LOCAL

    @classmethod
    def load(cls, file: Path, environ: Mapping[str, str]) -> "Config":
        """Read `file`, let the environment overrule it; ConfigError names the key, what it is and what it may be."""
        values = {name: checked(name, value, str(file)) for name, value in read_toml(file).items()}
        for variable, name in (("SPLOOT_SERVER", "server"), ("SPLOOT_LOG_LEVEL", "log_level")):
            if environ.get(variable):
                values[name] = checked(name, environ[variable], f"the environment variable {variable}")
        return cls(**values, token=environ.get("SPLOOT_TOKEN", ""))

    def value(self, name: str) -> Any:
        checked_name(name, "the command line")
        return getattr(self, name)


def read_toml(file: Path) -> dict[str, Any]:
    """The raw table in `file`; empty when there is none."""
    try:
        with file.open("rb") as stream:
            text = stream.read(CONFIG_BYTES_MAX)
        return tomllib.loads(text.decode())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not valid TOML: {error}", "mend the file, or move it away to use the defaults"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "check the permissions of the file") from error


def checked_name(name: str, source: str) -> Key:
    if name not in KEYS:
        raise ConfigError(f"{source} has an unknown key `{name}`", f"the keys are: {', '.join(KEYS)}")
    return KEYS[name]


def checked(name: str, value: Any, source: str) -> Any:
    """`value` as the type of the key `name`; ConfigError when it will not do."""
    key = checked_name(name, source)
    if key.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    said = ""
    try:
        will_do = type(value) is key.kind and key.check(value)
    except ValueError as error:
        will_do, said = False, f": {error}"
    if not will_do:
        raise ConfigError(f"{source} sets `{name}` to {value!r}{said}", f"`{name}` may be: {key.allowed}")
    return value


def from_text(name: str, text: str) -> Any:
    """`text` from a command line as the value of the key `name`; ConfigError when it will not do."""
    key = checked_name(name, "the command line")
    try:
        value = key.kind(text)
    except ValueError:
        value = text
    return checked(name, value, "the command line")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where one profile keeps its things. `state` and `runtime` are folders of mode 0700."""

    config_file: Path
    state: Path
    runtime: Path

    @property
    def socket(self) -> Path:
        return self.runtime / SOCKET

    @property
    def library_socket(self) -> Path:
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
    def page(self) -> Path:
        return self.state / "page.json"

    @property
    def dropped(self) -> Path:
        return self.state / "dropped"

    @property
    def token_file(self) -> Path:
        return self.state / "token"

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> "Paths":
        """The places for this user and profile."""
        config, state, runtime = places(environ)
        return cls(Path(config, "config.toml"), Path(state), Path(runtime))

    def make(self) -> None:
        """Create the folders, private to the user."""
        for folder in (self.state, self.runtime):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


_without_key = {entry.name for entry in fields(Config)} - set(KEYS) - {"token"}
if _without_key:
    raise AssertionError(f"configuration without a key: {_without_key}")
