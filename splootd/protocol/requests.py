"""All that may be asked."""

from typing import get_args

from splootd.protocol.adding import Add, GetProgress
from splootd.protocol.changes import Bump, Forget, Retry
from splootd.protocol.examination import Examine, SelfTest
from splootd.protocol.folders import GetFolders, RemoveFolder
from splootd.protocol.items import ListItems, Why
from splootd.protocol.keeping import Backup, Undo
from splootd.protocol.library import OpenPage, Search
from splootd.protocol.measures import GetEvents, GetMetrics, GetReport, WhySlow
from splootd.protocol.request import Request
from splootd.protocol.running import Login, Logout, Pause, Resume, Shutdown
from splootd.protocol.standing import GetStatus

AnyRequest = (
    GetStatus
    | Add
    | GetProgress
    | ListItems
    | Why
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
    | WhySlow
    | Examine
    | SelfTest
    | OpenPage
)
REQUESTS: tuple[type[Request], ...] = get_args(AnyRequest)
