"""A term as its holder sees it, and the seat behind it: a tenure that several threads may ask and end.

Three parties meet here: the event loop renews and ends, the alarm's thread ends at the deadline, and the body, in
whatever thread it runs, asks. All of them go through one lock and read the clock inside it, so that no answer is older
than the one before it: once anybody saw False, everybody sees False.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from incumbent.engines.api import Claimed
from incumbent.errors import InvalidInput, LeadershipLost, LeaseTooShort, invariant
from incumbent.leadership.body import Body
from incumbent.leadership.tenure import NS_PER_S, Reason, State, Tenure
from incumbent.ports import Clock
from incumbent.runtime.fork import tell_child

T = TypeVar("T")


class Seat:
    """The thread-safe form of a tenure that was elected. `on_over` is called once, from the thread that noticed.

    `until_ns` is the one thing that is read without the lock: before it the clock alone answers that the term holds, at it
    or after it the tenure is asked. It moves only under the lock, and is 0 before anybody is told that the term is over.
    """

    def __init__(self, tenure: Tenure, clock: Clock, on_over: Callable[[], None]) -> None:
        self.now_ns = clock.now_ns
        self.until_ns = tenure.deadline_ns
        self.forked = False
        self.beat_ns = clock.now_ns()  # when the body last showed progress
        self._tenure = tenure
        self._on_over = on_over
        # Reentrant: a signal handler or finalizer may ask about the term on the thread that is just being answered.
        self._lock = threading.RLock()
        tell_child(self)

    def on_forked(self) -> None:
        """This is a copy in a forked child, which never leads (P75)."""
        self.forked = True
        self.until_ns = 0

    def remaining_ns(self) -> int:
        return 0 if self.forked else self._do(self._tenure.remaining_ns)

    def renewed(self) -> bool:
        """The lease was renewed. True: the deadline moved. The clock is read now: a reply that came in time but is
        handled too late does not count (P12)."""
        return self._do(self._tenure.renewed)

    def end(self, reason: Reason) -> bool:
        """True: this call ended it."""
        return not self.forked and self._do(lambda now_ns: self._tenure.end(reason, now_ns))

    def left(self) -> None:
        with self._lock:
            self._tenure.left()

    @property
    def state(self) -> State:
        self.remaining_ns()
        return State.OUT if self.forked else self._tenure.state

    @property
    def reason(self) -> Reason | None:
        """Why it is over; None while it holds."""
        return None if self.remaining_ns() else self.ended_for

    @property
    def ended_for(self) -> Reason:
        """Why it is over. Only for a seat that is."""
        if self.forked:
            return Reason.FORKED
        invariant(self._tenure.reason is not None, "a seat that is over has a reason")
        assert self._tenure.reason is not None
        return self._tenure.reason

    @property
    def ended_ns(self) -> int | None:
        return self._tenure.ended_ns

    @property
    def deadline_ns(self) -> int:
        return self._tenure.deadline_ns

    @property
    def over(self) -> bool:
        return not self.remaining_ns()

    @property
    def act_ns(self) -> int:
        return self._tenure.act_ns

    def force_ns(self) -> int:
        """When a body that still runs is to be ended by force."""
        with self._lock:
            return self._tenure.force_ns()

    def _do(self, act: Callable[[int], T]) -> T:
        with self._lock:
            led = self._tenure.leads
            answer = act(self.now_ns())
            ended = led and not self._tenure.leads
            self.until_ns = self._tenure.deadline_ns if self._tenure.leads else 0
        if ended:
            self._on_over()
        return answer


class Notice:
    """Tells the body that leadership is about to be handed over."""

    def __init__(self) -> None:
        self.heard = False  # the body asked at least once, so it is worth waiting for it
        self.given = asyncio.Event()


class Term:
    """One leadership of one candidate. Ask it from any thread; no question costs I/O.

    `is_valid`, `remaining()` and `check()` are advice: a process can be stopped between its question and its next
    act. The guarantee is `token`: give it to the resource with every write, and let the resource refuse a lower one.
    """

    __slots__ = ("__weakref__", "_body", "_notice", "_seat", "candidate", "claimed", "election", "token")

    def __init__(
        self,
        seat: Seat,
        body: Body,
        *,
        election: str,
        candidate: str,
        claimed: Claimed,
        notice: Notice | None = None,
    ) -> None:
        self._seat = seat
        self._body = body
        self._notice = notice or Notice()
        self.election = election
        self.candidate = candidate
        self.token = claimed.token  # positive, below 2**63; higher than that of every term before
        self.claimed = claimed  # guards writes of cells: engine.write_cells(group, writes, term.claimed)

    @property
    def is_valid(self) -> bool:
        """Whether this process leads now. Once False, False for ever."""
        seat = self._seat
        return seat.now_ns() < seat.until_ns or seat.remaining_ns() > 0

    def remaining(self) -> float:
        """Seconds of leadership left if no further renewal is confirmed; 0.0 when it is over. Never above the TTL."""
        seat = self._seat
        now_ns = seat.now_ns()  # before the deadline is read, which may be moving
        left_ns = seat.until_ns - now_ns
        return (left_ns if left_ns > 0 else seat.remaining_ns()) / NS_PER_S

    def check(self) -> None:
        """Raises LeadershipLost, with the reason, when this process does not lead any more."""
        seat = self._seat
        if seat.now_ns() >= seat.until_ns and not seat.remaining_ns():
            raise LeadershipLost(seat.ended_for)

    def guard(self, min_remaining: float = 0.0) -> Guard:
        """``with term.guard(min_remaining=0.5) as token:`` around a section that must begin and end as the leader.

        Entering raises LeadershipLost when this process does not lead, LeaseTooShort when fewer than `min_remaining`
        seconds are left. Leaving raises LeadershipLost when the term ended in the section: what was done there may have
        been done beside a successor. An exception of the section propagates.

        It costs no I/O and may be used in async code and in threads. NB it detects and does not prevent: only the token,
        checked by the resource, keeps a stopped process's write out.
        """
        if not 0 <= min_remaining < math.inf:
            raise InvalidInput("min_remaining", f"is {min_remaining!r}", "give seconds, at least 0")
        return Guard(self, min_remaining)

    def beat(self) -> None:
        """The work goes on. With `progress_timeout` a term without a beat for that long ends as `stuck`."""
        self._seat.beat_ns = self._seat.now_ns()

    def in_this_thread(self) -> AbstractContextManager[None]:
        """``with term.in_this_thread():`` this thread does the term's work: ``on_stuck="raise"`` raises LeadershipLost here
        when the work runs on after its grace. For work that an async body gave to a thread; `incumbent.blocking` does it by
        itself."""
        return self._body

    @property
    def handover_requested(self) -> bool:
        """Whether leadership is to be handed over, the successor is warm, and this body has some time to come to an end. False
        again when nothing came of it. A body that never asked, here or by `wait_handover`, is cancelled without that time."""
        self._notice.heard = True
        return self._notice.given.is_set()

    async def wait_handover(self) -> None:
        """Until `handover_requested`. On the event loop."""
        self._notice.heard = True
        await self._notice.given.wait()

    @property
    def state(self) -> State:
        """HELD, JEOPARDY (still leading, a renewal is overdue), LOST, or OUT when all of it is over."""
        return self._seat.state

    @property
    def reason(self) -> Reason | None:
        """Why it is over; None while it holds."""
        return self._seat.reason

    def __repr__(self) -> str:
        return (
            f"<Term of {self.election!r}: {self.candidate!r}, token {self.token}, {self.state}, "
            f"{self.remaining():.3f} s left>"
        )


class Guard:
    """Made by `Term.guard`. Can be entered again."""

    __slots__ = ("_min_remaining", "_term")

    def __init__(self, term: Term, min_remaining: float) -> None:
        self._term = term
        self._min_remaining = min_remaining

    def __enter__(self) -> int:
        """The fencing token."""
        remaining = self._term.remaining()
        if not remaining:
            self._term.check()
        if remaining < self._min_remaining:
            raise LeaseTooShort(remaining, self._min_remaining)
        return self._term.token

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self._term.check()
