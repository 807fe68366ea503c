"""What all requests have in common."""

from typing import ClassVar


class Request:
    method: ClassVar[str]
    path: ClassVar[str]
