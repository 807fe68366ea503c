"""The library's books in PostgreSQL with pgvector: one database for any number of servers and workers.

`database.py` is the only door to asyncpg; `assets.py`, `jobs.py` and `texts.py` are the twins of the SQLite modules of
the same purpose and sit the same exam. The schema in `migrations/` says what holds whoever writes, psql included.
"""
