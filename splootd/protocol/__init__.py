"""What the daemon and the command line must agree on: requests and replies. Standard library only.

A request is a frozen dataclass that knows its method and path; `wire.py` says how it travels. A path of a file is text
as `os.fsdecode` gives it, so that a name that is not UTF-8 survives JSON as escaped surrogates.

Making all these classes takes longer than bare Python takes to start. So each page of this folder is only read when one
of its names is asked for: a command needs those of one or two.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:  # the checker of types may as well have them all
    from splootd.protocol.adding import *  # noqa: F403
    from splootd.protocol.changes import *  # noqa: F403
    from splootd.protocol.examination import *  # noqa: F403
    from splootd.protocol.folders import *  # noqa: F403
    from splootd.protocol.items import *  # noqa: F403
    from splootd.protocol.keeping import *  # noqa: F403
    from splootd.protocol.library import *  # noqa: F403
    from splootd.protocol.measures import *  # noqa: F403
    from splootd.protocol.problem import *  # noqa: F403
    from splootd.protocol.request import *  # noqa: F403
    from splootd.protocol.requests import *  # noqa: F403
    from splootd.protocol.running import *  # noqa: F403
    from splootd.protocol.standing import *  # noqa: F403

ADD_PATHS_MAX = 1_000  # paths in one request; a longer list goes as several requests of one add
BODY_BYTES_MAX = 16_000_000
PAGE_MAX = 1_000
TEXT_CHARS_MAX = 200  # of what is looked for in names

PAGES = {
    "request": "Request",
    "standing": "GetStatus DaemonStatus ServerStatus Rates Need Status",
    "folders": "GetFolders FolderRow Folders RemoveFolder",
    "adding": "Add PathOutcome Added GetProgress Progress",
    "items": "ListItems ItemRow Items Why AttemptRow Story",
    "changes": "Retry Bump Forget Changed",
    "running": "Pause Resume Login Logout Shutdown Done",
    "keeping": "Undo Undone Backup",
    "library": "Search Hit Hits OpenPage PageAddress",
    "measures": "GetEvents GetMetrics GetReport CallRow UploadRow MemoryRow Report WhySlow Slow",
    "examination": "Examine SelfTest Finding Findings",
    "problem": "Problem",
    "requests": "AnyRequest REQUESTS",
}
_PAGE_OF = {name: page for page, names in PAGES.items() for name in names.split()}

if not TYPE_CHECKING:  # which would take any name for one that there is

    def __getattr__(name: str) -> object:
        if name not in _PAGE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_PAGE_OF[name]}"), name)
        return found
