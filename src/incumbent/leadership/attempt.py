"""Waiting no longer than so much for a block to begin."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from incumbent.errors import InvalidInput

T = TypeVar("T")


@asynccontextmanager
async def attempt(block: AbstractAsyncContextManager[T], timeout: float) -> AsyncGenerator[T | None, None]:
    """Enters `block` and gives what it gives, or gives None when it did not begin within `timeout` seconds.

    Raises InvalidInput for a timeout that is not above 0.
    """
    if not 0 < timeout < math.inf:
        raise InvalidInput("timeout", f"is {timeout!r}", "give seconds, above 0")
    async with AsyncExitStack() as stack:
        begun: T | None = None
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                begun = await stack.enter_async_context(block)
        except TimeoutError:
            if not limit.expired():
                raise
        yield begun
