"""The documented exit codes."""

DONE = 0
NOT_FOUND = 1  # or at least one file failed
WORK_LEFT = 1  # of `status --exit-code`
USAGE = 2
NO_DAEMON = 3
NEEDS_USER = 4
INTERNAL_ERROR = 70
TIMEOUT = 124
INTERRUPTED = 130
BROKEN_PIPE = 141
