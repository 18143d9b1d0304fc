"""A fence in this process's memory: for a resource that lives there as well, and is gone with it.

It is shared by the threads of one process and forgotten at its end, so it protects nothing that outlives the process. Everything
else has a fence of its own kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from incumbent.errors import InvalidInput
from incumbent.fencing.refusals import OnRefused, Refusals
from incumbent.fencing.rule import Seen, check_holder, check_token, key_of
from incumbent.fencing.turn import WAIT_S, Turn, check_wait


class Fence:
    """The fence of one election in this process; make one, and give it to every thread.

    `wait_s` is how long a write waits for another one. Raises InvalidInput. See `incumbent.fencing.api` for what it does.
    """

    exclusive: Final = True

    def __init__(self, name: str, *, wait_s: float = WAIT_S, on_refused: OnRefused | None = None) -> None:
        key_of(name)
        self.name = name
        self.refusals = Refusals(name, on_refused)
        self._wait_s = check_wait(wait_s)
        self._turn = Turn(name)
        self._seen = Seen()
        self._pid = os.getpid()

    @contextmanager
    def write(self, token: int, holder: str = "") -> Iterator[None]:
        """``with fence.write(term.token): …`` One block at a time. What it did before it raised is yours to take back."""
        check_token(token)
        check_holder(holder)
        if os.getpid() != self._pid:
            raise InvalidInput(
                "fence", "is a copy in a forked child", "a fence in memory protects one process only"
            )
        with self._turn.taken(self._wait_s):
            if self._seen.refuses(token, holder):
                raise self.refusals.refuse(token, holder, self._seen)
            yield
            self._seen = self._seen.raised(token, holder)

    def prime(self, token: int, holder: str = "") -> None:
        """Raise the fence without a write."""
        with self.write(token, holder):
            pass

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first."""
        return self._seen.token

    def refused(self) -> int:
        """How many writes were refused so far."""
        return self.refusals.count
