"""Base class of all requests."""

from typing import ClassVar


class Request:
    """A request of the control API with its HTTP method and path."""

    method: ClassVar[str]
    path: ClassVar[str]
