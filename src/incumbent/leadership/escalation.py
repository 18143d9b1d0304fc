"""A body that ignores its cancellation, or blocks the loop, is ended by force inside the lease. On the alarm's thread.

`kill` is the work of another process (`guardian.leash`), which is told every deadline beforehand: while C code holds the
interpreter's lock, nothing in this process runs that could ask for it.
"""

from __future__ import annotations

import threading
from typing import Protocol

from incumbent.leadership.body import Body
from incumbent.leadership.oversight import OnStuck
from incumbent.leadership.term import Seat
from incumbent.leadership.world import Deadlines


class Leash(Protocol):
    """The other process: kills this one at the latest deadline that it was told for a key."""

    def hold(self, key: int, deadline_ns: int) -> None:
        """From any thread. Replaces what was told for `key`."""
        ...

    def release(self, key: int) -> None: ...


class Escalation:
    """Of one term. Made when it begins."""

    def __init__(
        self,
        how: OnStuck,
        *,
        election: str,
        seat: Seat,
        body: Body,
        deadlines: Deadlines,
        leash: Leash | None,
    ) -> None:
        self._how = how
        self._election = election
        self._seat = seat
        self._body = body
        self._deadlines = deadlines
        self._leash = leash
        # Reentrant: a look at the seat may be the one that notices its end, and then this is told of that.
        self._lock = threading.RLock()
        self._over = False  # the body has ended: nothing is set or told any more
        self.moved()

    def moved(self) -> None:
        """The term begins, its deadline moved, or it is over. From any thread."""
        with self._lock:
            if self._over:
                return
            force_ns = self._seat.force_ns()
            if self._leash is not None:
                self._leash.hold(id(self), force_ns)
            # Before the force comes the deadline, which is not the session's: it is a grace earlier.
            at_ns = force_ns if self._seat.over else self._seat.deadline_ns
            self._deadlines.set(self, at_ns, self._on_deadline)

    def body_ended(self) -> None:
        """On the loop. When it returns, nobody is killed any more."""
        self._body.end()
        with self._lock:
            self._over = True
            self._deadlines.clear(self)
            if self._leash is not None:
                self._leash.release(id(self))

    def _on_deadline(self) -> None:
        if self._seat.remaining_ns() or self._seat.now_ns() < self._seat.force_ns():
            self.moved()
            return
        self._body.force(self._how, self._election, self._seat.ended_for)
        with self._lock:
            if not self._over:  # it may swallow what is raised: again, for as long as it runs
                again_ns = self._seat.now_ns() + self._seat.act_ns
                self._deadlines.set(self, again_ns, self._on_deadline)
