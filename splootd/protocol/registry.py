"""Union of all requests."""

from typing import get_args

from splootd.protocol.add import Add, GetProgress
from splootd.protocol.daemon import Login, Logout, Pause, Resume, Shutdown
from splootd.protocol.doctor import RunDoctor, SelfTest
from splootd.protocol.events import GetEvents
from splootd.protocol.folders import GetFolders, RemoveFolder
from splootd.protocol.item_actions import Bump, Forget, Retry
from splootd.protocol.items import GetExplanation, ListItems
from splootd.protocol.library import EditAssets, GetShareLinks, OpenUi, SaveImage, Search, Share
from splootd.protocol.metrics import GetBottleneck, GetMetrics, GetReport
from splootd.protocol.request import Request
from splootd.protocol.settings import ChangeSetting, FindFolders, GetSettings, Reveal
from splootd.protocol.status import GetStatus
from splootd.protocol.templates import GetTemplates, LearnTemplate, NameTemplate, RemoveTemplate
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
    | EditAssets
    | Share
    | GetShareLinks
    | SaveImage
    | GetTemplates
    | LearnTemplate
    | NameTemplate
    | RemoveTemplate
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
    | GetSettings
    | ChangeSetting
    | FindFolders
    | Reveal
)
REQUESTS: tuple[type[Request], ...] = get_args(AnyRequest)
