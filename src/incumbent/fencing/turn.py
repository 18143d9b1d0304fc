"""One thread at a time, and no endless wait for one that does not come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from incumbent.errors import EngineUnavailable, InvalidInput

WAIT_S: Final = 5.0
"""How long a fence waits for its turn unless it is told otherwise."""
WAIT_MAX_S: Final = 3600.0


def check_wait(wait_s: float) -> float:
    """Raises InvalidInput for what cannot be waited for."""
    if not 0.0 <= wait_s <= WAIT_MAX_S:  # NaN compares false
        raise InvalidInput("wait_s", f"{wait_s!r} cannot be waited", f"give 0 to {WAIT_MAX_S} seconds")
    return wait_s


class Turn:
    """The turn of one thread of this process. The thread that took it need not be the one that gives it back."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, wait_s: float) -> Iterator[None]:
        """Raises EngineUnavailable when another write of this process is not over in time; nothing was done."""
        if not self._lock.acquire(timeout=wait_s):
            raise EngineUnavailable(
                f"{self._name}: another write through this fence is not over after {wait_s} s; is one inside the other?"
            )
        try:
            yield
        finally:
            self._lock.release()
