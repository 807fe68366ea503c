"""The SQLite store: the one place where the queue and the ledger are kept."""
