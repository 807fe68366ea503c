"""The SQLite store: the queue, the ledger and everything else that the daemon keeps across restarts."""
