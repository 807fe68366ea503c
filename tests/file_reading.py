"""Read one file as the uploader does."""

import contextlib
from collections.abc import AsyncIterator

from splootd.core.item import Version
from splootd.core.limits import Limits
from splootd.file_reader import Content, MemoryBudget, read_files


@contextlib.asynccontextmanager
async def read(
    path: bytes, version: Version, *, budget: MemoryBudget, limits: Limits, priority: int = 0
) -> AsyncIterator[Content]:
    """Read one file and yield its content; raise the exception that explains why it cannot be uploaded."""
    async with read_files([(path, version)], budget=budget, limits=limits, priority=priority) as (content,):
        if isinstance(content, Exception):
            raise content
        yield content
