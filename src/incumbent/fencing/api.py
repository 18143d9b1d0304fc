"""What every fence gives: one shape, whatever the resource.

fence.prime(term.token)                  # a new leader closes the door before it reads
with fence.write(term.token) as sink:    # check, write, and raise the fence: one step
    ...                                  # what `sink` is depends on the resource
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from incumbent.fencing.refusals import Refusals


class Fence(Protocol):
    """The fence of one election at one resource."""

    @property
    def name(self) -> str:
        """The election's name; with its slot for a semaphore, whose slots have tokens of their own."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether the block of `write` runs under the resource's own lock, so that nobody else's comes in between. If not,
        what the block says is collected, and done in one step at its end."""
        ...

    @property
    def refusals(self) -> Refusals:
        """What this object refused."""
        ...

    def write(self, token: int, holder: str = "") -> AbstractContextManager[Any]:
        """Whatever the block does to what it is given is done under `token`, or not at all.

        `holder` is the candidate's name, where it is known: an equal token of another holder is refused. When the block raises,
        nothing of it stays, and the fence is not raised. A write that is done raises the fence to `token`.

        Raises StaleToken, InvalidInput, or EngineUnavailable (the resource cannot be had in time): nothing was written.
        OutcomeUnknown: nobody here can tell.
        """
        ...

    def prime(self, token: int, holder: str = "") -> None:
        """Raise the fence without a write, durably: from here on nothing below `token` is written. Raises as `write` does."""
        ...

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first."""
        ...

    def refused(self) -> int:
        """How many writes were refused so far, by any process: evidence of leaders that did not know that they were over."""
        ...
