"""Error codes of failed items."""

import enum


class ErrorCode(enum.StrEnum):
    """Stable code of a failure, used by `--error`, the JSON key `error_code`, the metrics and the store."""

    UNREACHABLE = "unreachable"  # no connection to the server
    CONNECTION_LOST = "connection_lost"  # the connection broke or timed out after bytes were sent: outcome unknown
    SERVER_ERROR = "server_error"  # a 5xx response for this content
    SERVER_UNAVAILABLE = "server_unavailable"  # 5xx responses for all contents
    INVALID_RESPONSE = "invalid_response"  # a response that cannot be parsed
    RATE_LIMITED = "rate_limited"  # a 429 response, or 503 with Retry-After
    LIBRARY_FULL = "library_full"  # a 507 response: the quota is used up, or the server's disk is full
    UNAUTHENTICATED = "unauthenticated"  # signed out: no token, or a rejected one
    RESOURCE_EXHAUSTED = "resource_exhausted"  # this machine ran out of file descriptors, sockets, memory or disk
    INTERRUPTED = "interrupted"  # the daemon stopped, or the file changed while it was read
    REJECTED = "rejected"  # the server rejected the file
    TAGS_REJECTED = "tags_rejected"  # the server rejected the tags of the file
    TOO_LARGE = "too_large"  # larger than the server's limit
    EMPTY = "empty"  # a file of 0 bytes
    NOT_AN_IMAGE = "not_an_image"  # not an image or video, by its first bytes
    UNREADABLE = "unreadable"  # permission denied or read error
    NOT_A_FILE = "not_a_file"  # a pipe, socket or device
    EMBEDDING_FAILED = "embedding_failed"  # uploaded, but the library could not make it searchable
    UNSUPPORTED = "unsupported"  # an image or video of a type that the server does not accept
    REMOVED = "removed"  # removed on the server; not uploaded again
    CANCELLED = "cancelled"  # removed from the queue by the user
    FILE_MISSING = "file_missing"  # the file no longer exists
