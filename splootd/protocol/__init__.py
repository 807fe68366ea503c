"""Messages of the control API, shared by the daemon and the command line. Standard library only.

A request is a frozen dataclass with its method and path; `codec.py` converts it to a query or JSON. File paths are text
as returned by `os.fsdecode`, so that a name that is not UTF-8 survives JSON as escaped surrogates.

Creating all these classes takes longer than starting Python. Each module of this package is therefore imported when one
of its names is first used: a command needs one or two of them.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers see every name
    from splootd.protocol.add import *  # noqa: F403
    from splootd.protocol.daemon import *  # noqa: F403
    from splootd.protocol.doctor import *  # noqa: F403
    from splootd.protocol.events import *  # noqa: F403
    from splootd.protocol.folders import *  # noqa: F403
    from splootd.protocol.item_actions import *  # noqa: F403
    from splootd.protocol.items import *  # noqa: F403
    from splootd.protocol.library import *  # noqa: F403
    from splootd.protocol.metrics import *  # noqa: F403
    from splootd.protocol.problem import *  # noqa: F403
    from splootd.protocol.registry import *  # noqa: F403
    from splootd.protocol.request import *  # noqa: F403
    from splootd.protocol.settings import *  # noqa: F403
    from splootd.protocol.status import *  # noqa: F403
    from splootd.protocol.templates import *  # noqa: F403
    from splootd.protocol.undo_backup import *  # noqa: F403

ADD_PATHS_MAX = 1_000  # paths per request; a longer list is sent as several requests of one import
BODY_BYTES_MAX = 16_000_000
PAGE_MAX = 1_000
TEXT_CHARS_MAX = 200  # of a file name search

NAMES_BY_MODULE = {
    "request": "Request",
    "status": "GetStatus DaemonStatus ServerStatus Rates ActionRequired Status",
    "folders": "GetFolders FolderRow Folders RemoveFolder",
    "add": "Add PathOutcome AddReply GetProgress Progress",
    "items": "ListItems ItemRow Items GetExplanation AttemptRow Explanation",
    "item_actions": "Retry Bump Forget ChangeReply",
    "daemon": "Pause Resume Login Logout Shutdown MessageReply",
    "undo_backup": "Undo UndoReply Backup",
    "library": "Search Hit Hits OpenUi UiUrl EditAssets EditedAsset EditedAssets Share GetShareLinks SharedAsset"
    " SharedAssets SaveImage",
    "templates": "GetTemplates TemplateRow TemplateRows LearnTemplate NameTemplate RemoveTemplate",
    "events": "GetEvents",
    "metrics": "GetMetrics GetReport CallRow UploadRow MemoryRow Report GetBottleneck Bottleneck",
    "doctor": "RunDoctor SelfTest Finding Findings",
    "settings": "GetSettings Setting Settings ChangeSetting FindFolders FolderNames Reveal",
    "problem": "Problem",
    "registry": "AnyRequest REQUESTS",
}
_MODULE_OF = {name: module for module, names in NAMES_BY_MODULE.items() for name in names.split()}

if not TYPE_CHECKING:  # with a module `__getattr__`, type checkers would accept any name

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value
