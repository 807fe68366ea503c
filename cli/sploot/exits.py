"""The exit codes that scripts rely on."""

DONE = 0
NOT_FOUND = 1  # or: something ended in the dead letters
WORK_LEFT = 1  # of `status --exit-code`
USAGE = 2
NO_DAEMON = 3
NEEDS_USER = 4
INTERNAL = 70
TIMEOUT = 124
INTERRUPTED = 130
PIPE = 141
