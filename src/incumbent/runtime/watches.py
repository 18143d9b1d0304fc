"""Wake-ups for changes in key ranges of one machine: merged, bounded, without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from incumbent.errors import Compacted, Overloaded, WatchLost
from incumbent.ids import Revision
from incumbent.kv.api import Change

WATCHES_MAX: Final = 10_000
EARLY_WATCHES_MAX: Final = 16
EARLY_RANGES_MAX: Final = 64


class History(Protocol):
    """What a watch needs of the machine."""

    def changes(self, key: bytes, end: bytes | None, after: Revision) -> Sequence[Change]:
        """The changes in the range after the revision. Raises Compacted."""
        ...


@dataclass(slots=True, eq=False)
class _Watch:
    key: bytes
    end: bytes | None
    after: Revision
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False

    def covers(self, change: Change) -> bool:
        return change.revision > self.after and self.overlaps(change.key, None)

    def overlaps(self, key: bytes, end: bytes | None) -> bool:
        if self.end is None:
            return key == self.key if end is None else key <= self.key < end
        return self.key <= key < self.end if end is None else key < self.end and self.key < end


class Watches:
    """All watches of one driver. Each holds one flag, so a slow watcher costs nothing but its own delay."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._watches: set[_Watch] = set()
        self._ended = False

    @property
    def count(self) -> int:
        return len(self._watches)

    async def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        """Yields once for all changes so far, then once or more whenever there are new ones."""
        if len(self._watches) >= WATCHES_MAX:
            raise Overloaded(f"there are {WATCHES_MAX} watches on this voter already")
        watch = _Watch(key, end, after)
        # History first, then wait: nothing can be applied between these lines, so nothing is missed.
        try:
            if self._history.changes(key, end, after):
                watch.woken.set()
        except Compacted as error:
            raise WatchLost(f"the history after revision {after} is no longer kept") from error
        self._watches.add(watch)
        try:
            while True:
                if self._ended:
                    raise WatchLost("this voter has stopped")
                await watch.woken.wait()
                watch.woken.clear()
                if watch.lost:
                    raise WatchLost("this voter hears no leader, so it does not learn what changes")
                if not self._ended:
                    yield None
        finally:
            self._watches.discard(watch)

    def wake(self, changes: Sequence[Change]) -> None:
        """These changes were applied."""
        if not changes:
            return
        for watch in self._watches:
            if not watch.woken.is_set() and any(map(watch.covers, changes)):
                watch.woken.set()

    def wake_early(self, ranges: Sequence[tuple[bytes, bytes | None]]) -> bool:
        """These keys are about to be deleted, if all goes well: who waits for that may ask already, and is woken again when it has
        happened. Only where few watch: a crowd that asks twice would be in the way of the one that it is for. True: somebody was."""
        if len(ranges) > EARLY_RANGES_MAX:
            return False
        early = [watch for watch in self._watches if any(watch.overlaps(key, end) for key, end in ranges)]
        if len(early) > EARLY_WATCHES_MAX:
            return False
        for watch in early:
            watch.woken.set()
        return bool(early)

    def wake_all(self) -> None:
        """The machine was reset to a snapshot: nobody can say what changed."""
        for watch in self._watches:
            watch.woken.set()

    def lose(self) -> None:
        """Nobody can say any more what changes: every watch ends with WatchLost. New ones may come."""
        for watch in self._watches:
            watch.lost = True
            watch.woken.set()

    def end(self) -> None:
        """Every watch, now and later, ends with WatchLost."""
        self._ended = True
        for watch in self._watches:
            watch.woken.set()
