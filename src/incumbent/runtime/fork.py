"""What must not be true in a forked child is made untrue there, before any other Python code of it runs.

So nobody has to ask on every use whether this is still the process that it was, which would cost a system call each time.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet


class Copied(Protocol):
    """Something that a fork copies and that means nothing in the copy."""

    def on_forked(self) -> None:
        """This is the child. Called before any other Python code runs in it; must not take a lock, which another thread of
        the parent may have held at the fork and nobody would release here."""
        ...


# The one thing that is kept per module and not per object: os.register_at_fork keeps its hooks for ever, so there is one
# hook, and who wants to be told is held weakly.
_told: Final[WeakSet[Copied]] = WeakSet()


def tell_child(one: Copied) -> None:
    """Have `one.on_forked()` called in every child that this process forks while `one` is alive."""
    _told.add(one)


def _tell() -> None:
    for one in list(_told):
        one.on_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
