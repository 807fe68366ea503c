"""The storage interfaces on PostgreSQL with pgvector: one database for any number of servers and workers.

Only `database.py` uses asyncpg. The modules mirror those of `storage/sqlite/` and pass the same tests. Constraints and
triggers of the schema in `migrations/` hold for every writer, psql included.
"""
