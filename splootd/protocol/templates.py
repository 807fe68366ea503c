"""Messages about templates: well-known pictures with names, which the library recognizes in other pictures."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetTemplates(Request):
    """List the templates of the library by name."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/templates"


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A template; `pictures` is the number of pictures it was learned from, `assets` of assets that show it."""

    id: str
    name: str
    keywords: tuple[str, ...]
    pictures: int
    assets: int


@dataclass(frozen=True, slots=True)
class TemplateRows:
    """Reply to GetTemplates."""

    templates: tuple[TemplateRow, ...]


@dataclass(frozen=True, slots=True)
class LearnTemplate(Request):
    """Learn a template from the picture at `file`, an absolute path. Several pictures may have one name."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/templates/learn"
    file: str
    name: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NameTemplate(Request):
    """Name the template of a file in the library, given by id or path, and so of all that share it."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/templates/name"
    target: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoveTemplate(Request):
    """Remove a template by its name. The pictures that show it stay."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/v1/templates/remove"
    name: str
