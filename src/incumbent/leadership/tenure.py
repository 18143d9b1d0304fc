"""PURE. All lease arithmetic of the holder's side, and the states of one candidacy. Nothing else decides them.

Rules of the place (PROTOCOLS 2.1):

- The holder counts from *before* the request left; the grantor from when it processed it, which is later. So the
  holder's end comes first, whatever the network did, as long as the clocks run within RATE_ERROR of real time.
- Times are integer nanoseconds of one suspend-aware clock of this host. Nothing here reads it: `now_ns` comes in.
- A `Lease` is one session's renewals. A `Tenure` is one candidacy under it: OUT, WAITING, HELD, JEOPARDY, LOST. Many
  tenures share one lease. LOST is final: whatever the engine says later, this tenure does not lead again.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final

from incumbent.errors import invariant

NS_PER_S: Final = 1_000_000_000

RATE_SLOW: Final = 999
RATE_FAST: Final = 1001
"""(1 - r) and (1 + r) in thousandths, r = 0.001: twice the 500 ppm by which NTP may slew a clock."""

FRESH_PARTS: Final = 3
"""A term starts only on a renewal and a claim younger than TTL/3; renewals are sent before that age, and wait at most that long for a reply."""
RENEW_EARLY_PARTS: Final = 4
"""Renewals are sent at a random age between 3/4 of TTL/3 and TTL/3, so that many holders do not renew in one tick (P23)."""
RETRY_PARTS: Final = 24
"""The first retry of a failed renewal comes after at most TTL/24; the pause doubles, up to TTL/3."""
HURRY_PARTS: Final = 12
"""However little of the lease is left, a renewal's reply is waited for at least TTL/12."""
ACT_PARTS: Final = 20
"""An escalation against a body that does not end begins TTL/20 before the lease is over: so long it may take itself."""
LATE_PARTS: Final = 10
"""An end that was noticed more than TTL/10 late was noticed by a process that had not been running."""


class State(StrEnum):
    """Where a candidacy stands."""

    OUT = "out"  # no member, no leadership
    WAITING = "waiting"  # a member, not (known to be) the first
    HELD = "held"  # leader, renewed in time
    JEOPARDY = "jeopardy"  # still leader; a renewal is overdue, and the deadline is near
    LOST = "lost"  # was leader; the body may still be ending, so the member has not left


class Reason(StrEnum):
    """Why a term ended. The values are stable: they stand in histories and logs."""

    RESIGNED = "resigned"  # somebody asked for it
    BODY_ENDED = "body_ended"  # the leader's work returned, or raised
    CLOSED = "closed"  # the cluster object was closed
    HANDED_OVER = "handed_over"  # to the candidate that was named to lead next
    PREEMPTED = "preempted"  # a candidate with a higher priority waits, and this one has led long enough
    DRAINED = "drained"  # an operator drained this candidate
    EXPIRED = "expired"  # the deadline passed while this process did not run: stopped, suspended, or starved
    RENEW_TIMEOUT = "renew_timeout"  # renewals were tried and none was confirmed in time
    LOOP_STALL = (
        "loop_stall"  # the event loop was blocked for so long that no renewal could be sent, or heard
    )
    SESSION_GONE = "session_gone"  # the engine says that the session is over
    EVICTED = (
        "evicted"  # the engine says that the member is gone: removed by an operator, or with its session
    )
    SUPERSEDED = "superseded"  # the engine says that another member is first
    ENGINE_RESET = "engine_reset"  # the engine was restored or replaced
    UNHEALTHY = "unhealthy"  # the user's own probe failed, or said nothing in time
    STUCK = "stuck"  # the body reported no progress in time
    BODY_DIED = "body_died"  # the task or thread of the body is gone, and never left the block
    FORKED = "forked"  # this is a forked child; the parent leads
    RENEWER_DIED = "renewer_died"  # a bug in incumbent ended the renewals


YIELDED: Final = frozenset({Reason.HANDED_OVER, Reason.PREEMPTED, Reason.DRAINED})
"""Ends by which this side made room for another candidate."""
RELEASED: Final = frozenset({Reason.RESIGNED, Reason.BODY_ENDED, Reason.CLOSED}) | YIELDED
"""Ends that this side chose. All others are losses."""


class Step(StrEnum):
    """What can happen to a candidacy."""

    JOINED = "joined"
    WITHDREW = "withdrew"
    ELECTED = "elected"
    RENEWED = "renewed"
    OVERDUE = "overdue"
    ENDED = "ended"
    LEFT = "left"


TRANSITIONS: Final[dict[tuple[State, Step], State]] = {
    (State.OUT, Step.JOINED): State.WAITING,
    (State.WAITING, Step.WITHDREW): State.OUT,
    (State.WAITING, Step.ELECTED): State.HELD,
    (State.HELD, Step.RENEWED): State.HELD,
    (State.HELD, Step.OVERDUE): State.JEOPARDY,
    (State.JEOPARDY, Step.RENEWED): State.HELD,
    (State.HELD, Step.ENDED): State.LOST,
    (State.JEOPARDY, Step.ENDED): State.LOST,
    (State.LOST, Step.LEFT): State.OUT,
}
"""Everything else is a bug. The picture in docs/explanation/leases.md is drawn from this table, and a test compares."""


def hold_ns(ttl_ns: int, lag_ns: int) -> int:
    """How long a holder may believe in a lease, from just before its request left, on its own clock.

    The grantor promises `ttl_ns` on its clock, from up to `lag_ns` before it acknowledged. Both clocks may be wrong by
    r, in opposite directions: TTL·(1-r)/(1+r) - lag (PROTOCOLS 2.1). Rounded down.
    """
    return ttl_ns * RATE_SLOW // RATE_FAST - lag_ns


class Lease:
    """One session as its holder sees it: which renewal is in flight, which was the last confirmed, when to send the next.

    Example with a TTL of 6 s, all from the last confirmed renewal's sending: the next is sent between 1.5 and 2 s and
    given up to 2 s for its reply; from 4 s on the lease is overdue (JEOPARDY); at 5.988 s the holder gives up.
    """

    __slots__ = (
        "_failures",
        "_loop_asked_ns",
        "_next_ns",
        "_number",
        "_rng",
        "_sent_ns",
        "_started_ns",
        "_tried",
        "hold_ns",
        "ttl_ns",
    )

    def __init__(self, *, ttl_ns: int, lag_ns: int, sent_ns: int, rng: Random) -> None:
        """`sent_ns`: the clock, read before the session was asked for. That request counts as a renewal."""
        invariant(ttl_ns > 0 and lag_ns >= 0, "a lease has a length", ttl_ns=ttl_ns, lag_ns=lag_ns)
        self.ttl_ns: Final = ttl_ns
        self.hold_ns: Final = hold_ns(ttl_ns, lag_ns)
        self._rng = rng
        self._number = 0  # of the newest renewal that was sent
        self._started_ns: int | None = (
            None  # when it was sent, while its reply is awaited. One at a time (P22)
        )
        self._tried = False  # a renewal was sent since the last confirmed one
        self._failures = 0  # in a row
        self._loop_asked_ns: int | None = None  # since when the event loop owes a sign of life
        self._sent_ns = sent_ns  # of the last confirmed renewal; only rises
        self._next_ns = sent_ns + self._renewal_age_ns()

    # --- what follows from the last confirmed renewal -------------------------------------------------------------

    @property
    def deadline_ns(self) -> int:
        """From here on this holder does not believe in the lease."""
        return self._sent_ns + self.hold_ns

    @property
    def overdue_ns(self) -> int:
        """From here on a renewal is overdue: it should have been sent and answered."""
        return min(self._sent_ns + 2 * self.ttl_ns // FRESH_PARTS, self.deadline_ns)

    def is_fresh(self, now_ns: int) -> bool:
        """Whether a term may start now: the last confirmed renewal is younger than TTL/3 (DESIGN §4.8)."""
        return now_ns < min(self._sent_ns + self.ttl_ns // FRESH_PARTS, self.deadline_ns)

    def may_start(self, asked_ns: int, now_ns: int) -> bool:
        """Whether a term may start now on a claim that was asked for at `asked_ns`: what the engine said of the claim
        must not be older than what it said of the lease, or a member that was removed meanwhile would lead."""
        return self.is_fresh(now_ns) and now_ns < asked_ns + self.ttl_ns // FRESH_PARTS

    # --- renewing -------------------------------------------------------------------------------------------------

    def attempt_ns(self, now_ns: int) -> int:
        """How long to wait for the reply of a renewal sent now before it is given up: TTL/3, or half of what is left of
        the lease where that is less, so that a request that hangs does not use up the chances of the next."""
        patience_ns = self.ttl_ns // FRESH_PARTS
        left_ns = self.deadline_ns - now_ns
        return min(patience_ns, max(left_ns // 2, self.ttl_ns // HURRY_PARTS)) if left_ns > 0 else patience_ns

    @property
    def next_renewal_ns(self) -> int:
        """When to send the next renewal, if none is in flight."""
        return self._next_ns

    def want_fresh(self, now_ns: int) -> None:
        """Somebody waits for a fresh lease: send the next renewal at once, unless this is the pause after a failure."""
        if not self._failures:
            self._next_ns = min(self._next_ns, now_ns)

    def renewal_sent(self, now_ns: int) -> int:
        """A renewal is about to be sent: read the clock, call this, then send. Returns the renewal's number."""
        invariant(self._started_ns is None, "renewals never overlap", number=self._number)
        self._number += 1
        self._started_ns = now_ns
        self._tried = True
        return self._number

    def renewal_confirmed(self, number: int) -> bool:
        """The engine acknowledged renewal `number`. False: it was given up before, so this reply is ignored (P22)."""
        if self._started_ns is None or number != self._number:
            return False
        invariant(self._started_ns >= self._sent_ns, "the clock never goes back", sent_ns=self._sent_ns)
        self._sent_ns = self._started_ns
        self._started_ns = None
        self._tried = False
        self._failures = 0
        self._next_ns = self._sent_ns + self._renewal_age_ns()
        return True

    def renewal_failed(self, number: int, now_ns: int) -> None:
        """Renewal `number` was refused, lost or given up. It may have been done all the same, which harms nobody: what
        the holder believes does not change, and the next attempt comes after a pause."""
        if self._started_ns is None or number != self._number:
            return
        self._started_ns = None
        pause_ns = min(self.ttl_ns // RETRY_PARTS << min(self._failures, 8), self.ttl_ns // FRESH_PARTS)
        self._failures += 1
        self._next_ns = now_ns + self._rng.randint(pause_ns // 2, pause_ns)

    # --- the event loop, without which nothing is renewed ---------------------------------------------------------

    def next_look_ns(self, now_ns: int) -> int:
        """When to ask the event loop for a sign of life: from TTL/3 on, when a renewal is late, again and again."""
        return max(self._sent_ns + self.ttl_ns // FRESH_PARTS, now_ns + self.ttl_ns // HURRY_PARTS)

    def loop_asked(self, now_ns: int) -> bool:
        """It is asked now. False: it still owes the last answer, so it is stalled."""
        if self._loop_asked_ns is not None:
            return False
        self._loop_asked_ns = now_ns
        return True

    def loop_answered(self) -> None:
        self._loop_asked_ns = None

    def why_over(self, now_ns: int, deadline_ns: int) -> Reason:
        """Why that deadline passed, asked at the moment when that was noticed."""
        if now_ns - deadline_ns > self.ttl_ns // LATE_PARTS:
            return Reason.EXPIRED
        asked_ns = self._loop_asked_ns
        stalled = asked_ns is not None and now_ns - asked_ns >= self.ttl_ns // HURRY_PARTS
        return Reason.LOOP_STALL if stalled or not self._tried else Reason.RENEW_TIMEOUT

    def _renewal_age_ns(self) -> int:
        latest_ns = min(self.ttl_ns // FRESH_PARTS, max(self.hold_ns, 0))
        return self._rng.randint(latest_ns - latest_ns // RENEW_EARLY_PARTS, latest_ns)


class Tenure:
    """One candidacy under a lease, from joining to having left. Used once.

    Every method that takes `now_ns` looks at the deadline first, so the order of calls cannot bring a lost leadership
    back (P12). The deadline is the tenure's own copy: a renewal moves it only while the tenure still holds.
    """

    __slots__ = ("_grace_ns", "_lease", "deadline_ns", "ended_ns", "overdue_ns", "reason", "state")

    def __init__(self, lease: Lease, *, grace_ns: int | None = None) -> None:
        """`grace_ns`: how long the body has to end before it is ended by force, inside the lease; so the leadership ends
        that much before the lease, and TTL/20 for the force itself. None: there is no force, and all of it is the body's."""
        invariant(grace_ns is None or 0 <= grace_ns <= lease.ttl_ns // 4, "a grace leaves room for renewals")
        self._lease = lease
        self._grace_ns = grace_ns
        self.state = State.OUT
        self.deadline_ns = 0  # while HELD or JEOPARDY: only rises, and only by a confirmed renewal (P13)
        self.overdue_ns = 0
        self.reason: Reason | None = None  # set once, when the leadership ends
        self.ended_ns: int | None = None

    @property
    def lasts_ns(self) -> int:
        """How long this candidacy leads from a confirmed renewal's sending on."""
        return self._lease.hold_ns - (0 if self._grace_ns is None else self._grace_ns + self.act_ns)

    @property
    def act_ns(self) -> int:
        """What using force on a body may take itself."""
        return self._lease.ttl_ns // ACT_PARTS

    @property
    def leads(self) -> bool:
        return self.state in (State.HELD, State.JEOPARDY)

    def joined(self) -> None:
        """The engine has a member of ours."""
        invariant(self.reason is None, "a tenure is used once", reason=self.reason)
        self._take(Step.JOINED)

    def withdrew(self) -> None:
        """The wait was given up, or its session or member ended: it never leads (P1)."""
        self._take(Step.WITHDREW)

    def elected(self, asked_ns: int, now_ns: int) -> None:
        """The engine proved that our member is first, asked at `asked_ns`, and the lease is fresh."""
        invariant(
            self._lease.may_start(asked_ns, now_ns),
            "a term starts only on a renewal and a claim younger than TTL/3",
        )
        self._take(Step.ELECTED)
        self._copy_deadline()

    def renewed(self, now_ns: int) -> bool:
        """The lease was renewed. True: the deadline moved. False: too late, or over already (P12)."""
        if not self.is_valid(now_ns):
            return False
        self._take(Step.RENEWED)
        self._copy_deadline()
        return True

    def is_valid(self, now_ns: int) -> bool:
        """Whether this candidacy leads at `now_ns`. Once False, False for ever."""
        if self.leads:
            if now_ns >= self.deadline_ns:
                self._finish(self._lease.why_over(now_ns, self.deadline_ns), now_ns)
            elif now_ns >= self.overdue_ns and self.state is State.HELD:
                self._take(Step.OVERDUE)
        return self.leads

    def end(self, reason: Reason, now_ns: int) -> bool:
        """The leadership ends now, for `reason`, unless it has ended already. True: this call ended it."""
        if not self.is_valid(now_ns):
            return False
        self._finish(reason, now_ns)
        return True

    def left(self) -> None:
        """The body has ended and the member has left, or its session is over."""
        self._take(Step.LEFT)

    def remaining_ns(self, now_ns: int) -> int:
        """How long this candidacy leads if nothing is renewed any more; 0 when it does not lead. At most the TTL."""
        return self.deadline_ns - now_ns if self.is_valid(now_ns) else 0

    def force_ns(self) -> int:
        """When a body that still runs is to be ended by force.

        After a loss its grace is over then. After an end of our own will it may take its time, for as long as the session is
        renewed (P39): then only the end of the lease counts, and that moves. In any case inside the lease.
        """
        latest_ns = self._lease.deadline_ns - self.act_ns
        if self.leads:
            return self.deadline_ns + (self._grace_ns or 0)
        if self.ended_ns is None or self.reason in RELEASED:
            return latest_ns
        return min(self.ended_ns + (self._grace_ns or 0), latest_ns)

    def _finish(self, reason: Reason, now_ns: int) -> None:
        self._take(Step.ENDED)
        self.reason = reason
        self.ended_ns = now_ns

    def _copy_deadline(self) -> None:
        deadline_ns = self._lease.deadline_ns - self._lease.hold_ns + self.lasts_ns
        invariant(deadline_ns >= self.deadline_ns, "a deadline never moves back")
        self.deadline_ns = deadline_ns
        self.overdue_ns = min(self._lease.overdue_ns, deadline_ns)

    def _take(self, step: Step) -> None:
        after = TRANSITIONS.get((self.state, step))
        invariant(after is not None, "no such transition", state=self.state, step=step)
        assert after is not None
        self.state = after
