"""Messages of the event stream."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetEvents(Request):
    """Stream events as server-sent events, from the event after `since` on, or live only.

    `folder` and `item` filter the events. `status` adds a `status` event at the start and on each change of the
    status, `metrics` adds the report once a second.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/events"
    since: int | None = None
    folder: str | None = None
    item: int | None = None
    status: bool = False
    metrics: bool = False
