"""Union of all requests."""

from typing import get_args

from splootd.protocol.add import Add, GetProgress
from splootd.protocol.daemon import Login, Logout, Pause, Resume, Shutdown
from splootd.protocol.doctor import RunDoctor, SelfTest
from splootd.protocol.events import GetEvents
from splootd.protocol.folders import GetFolders, RemoveFolder
from splootd.protocol.item_actions import Bump, Forget, Retry
from splootd.protocol.items import GetExplanation, ListItems
from splootd.protocol.library import OpenUi, Search
from splootd.protocol.metrics import GetBottleneck, GetMetrics, GetReport
from splootd.protocol.request import Request
from splootd.protocol.status import GetStatus
from splootd.protocol.undo_backup import Backup, Undo

AnyRequest = (
    GetStatus
    | Add
    | GetProgress
    | ListItems
    | GetExplanation
    | Retry
    | Bump
    | Forget
    | Pause
    | Resume
    | Undo
    | Backup
    | GetFolders
    | RemoveFolder
    | Search
    | Login
    | Logout
    | Shutdown
    | GetEvents
    | GetMetrics
    | GetReport
    | GetBottleneck
    | RunDoctor
    | SelfTest
    | OpenUi
)
REQUESTS: tuple[type[Request], ...] = get_args(AnyRequest)
