"""Messages of the settings page: settings, completion of folder names, and files shown in the file manager."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetSettings(Request):
    """Return the settings that a page may change, and the folders whose paths it shortens."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/settings"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration file. `source` is the environment variable that overrides it, or None.

    `choices` are the values of a key that has only a few; of `library_types`, each of those that it may contain.
    """

    key: str
    value: str
    choices: tuple[str, ...]
    source: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Reply to GetSettings. `browser_uploads` is the folder of the files that were dropped on the page."""

    settings: tuple[Setting, ...]
    home: str
    browser_uploads: str


@dataclass(frozen=True, slots=True)
class ChangeSetting(Request):
    """Change one setting and restart the daemon. A new server needs `confirmed`: it receives the watched folders."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/settings"
    key: str
    value: str
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class FindFolders(Request):
    """Find the folders in the user's home whose path begins with `text`; `~` stands for the home."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/folders/find"
    text: str


@dataclass(frozen=True, slots=True)
class FolderNames:
    """Reply to FindFolders: absolute paths, sorted."""

    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reveal(Request):
    """Show the file of an item, given by id or path, in the file manager."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/reveal"
    target: str
