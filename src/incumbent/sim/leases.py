"""Candidates on leases, in the fast gear: what a client does by the rules of PROTOCOLS 2.1, and the predicates of 3.7.

Each candidate grants itself a lease, joins one group with a key under it, renews, and leads when a linearizable read shows
it first. It believes for as long as its own clock says since BEFORE it sent the last request that was confirmed. It follows
the rules to the letter, so whatever breaks is the cluster's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from incumbent.errors import invariant
from incumbent.ids import LeaseId, RequestId, Revision
from incumbent.kv.api import NO_LEASE, Change, Code, LeaseGrant, LeaseRevoke, Put, Range, prefix_end
from incumbent.node.api import Done, Outcome, Refused
from incumbent.node.node import Node
from incumbent.sim.kernel import START_NS, Kernel

GROUP: Final = b"group/"
GROUP_END: Final = prefix_end(GROUP)
RATE_BOUND_PPM: Final = 1_000
"""r: a clock runs at most so much faster or slower than real time."""
MILLION: Final = 1_000_000
SILENT: Final = 0.04
"""The share of renewals after which a candidate is never heard of again."""
RESIGNS: Final = 0.04

Ask = Callable[[Callable[[RequestId], Callable[[Node, int], None]], Callable[[Outcome], None]], None]
"""How a client sends a request: what to call with its number, and what to call with its outcome."""


class Elections:
    """The predicates: beliefs of two candidates never overlap, tokens only rise, and no lease that is believed in ends."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.token = Revision(0)  # the highest that led
        self.leaderships = 0
        self.lawful = True
        """Every clock keeps the bound on its rate. Beyond it only the token protects."""
        self._ended: set[bytes] = set()  # members' keys that some machine deleted
        self._holder: tuple[bytes, int] | None = (
            None  # who led last, and until when it believes, in real time
        )

    def believes(self, member: bytes, token: Revision, until_ns: int) -> None:
        """From now until then (real time) the candidate holds itself for the leader."""
        invariant(
            member not in self._ended or not self.lawful,
            "renew_confirm: a renewal was acknowledged for a lease that had ended",
            member=member,
        )
        if self._holder is not None and self._holder[0] == member:
            self._holder = (member, max(until_ns, self._holder[1]))
            return
        invariant(
            token > self.token,
            "token_monotone: a later leader has no higher token",
            token=token,
            last=self.token,
        )
        if self._holder is not None and self.lawful:
            invariant(
                self._holder[1] <= self._kernel.now_ns,
                "holder_belief: two believe to lead at one time",
                first=self._holder,
                second=member,
                now_ns=self._kernel.now_ns,
            )
        self.token, self._holder = token, (member, until_ns)
        self.leaderships += 1

    def gives_up(self, member: bytes) -> None:
        """By its own decision, before its time."""
        if self._holder is not None and self._holder[0] == member:
            self._holder = (member, self._kernel.now_ns)

    def applied(self, changes: Sequence[Change]) -> None:
        """A machine applied these. The first to delete a member's key ends its leadership for everyone."""
        for change in changes:
            if change.value is None and change.key not in self._ended and change.key.startswith(GROUP):
                self._ended.add(change.key)
                if self._holder is not None and self._holder[0] == change.key and self.lawful:
                    invariant(
                        self._holder[1] <= self._kernel.now_ns,
                        "lease_bound: a lease ended while its holder believed in it",
                        holder=self._holder,
                        now_ns=self._kernel.now_ns,
                    )


class Candidate:
    """One client process after another, on a host whose clock drifts."""

    def __init__(
        self, number: int, kernel: Kernel, ask: Ask, judge: Elections, ttl_ns: int, drift_ppm: int
    ) -> None:
        self._number = number
        self._kernel = kernel
        self._ask = ask
        self._judge = judge
        self._chance = kernel.stream(f"candidate {number}").random
        self._ttl_ns = ttl_ns
        self._drift_ppm = drift_ppm
        # The holder's share of the ttl, whatever the two clocks do within their bound.
        self._believed_ns = ttl_ns * (MILLION - RATE_BOUND_PPM) // (MILLION + RATE_BOUND_PPM)
        self._life = 0
        self._lease = NO_LEASE
        self._member = b""
        self._until_ns = 0  # on the own clock
        self._token = Revision(0)  # while it leads
        self.over = False
        self._begin(self._life)

    def _now_ns(self) -> int:
        now_ns = self._kernel.now_ns
        return now_ns + (now_ns - START_NS) * self._drift_ppm // MILLION

    def _later(self, delay_ns: int, call: Callable[[int], None]) -> None:
        self._kernel.after(int(delay_ns), call, self._life)

    def _send(
        self,
        request: Callable[[RequestId], Callable[[Node, int], None]],
        then: Callable[[int, int, Outcome], None],
    ) -> None:
        self._ask(request, partial(then, self._life, self._now_ns()))

    def _begin(self, life: int) -> None:
        """A new process: another lease, another member."""
        if life != self._life or self.over:
            return
        self._life += 1
        self._token = Revision(0)
        self._lease = LeaseId(self._number << 32 | self._life)
        self._member = GROUP + b"%d-%d" % (self._number, self._life)
        grant = LeaseGrant(self._lease, self._ttl_ns)
        self._send(lambda request: lambda node, now_ns: node.submit(request, grant, now_ns), self._granted)
        self._later(self._ttl_ns * 3, self._begin_if_idle)

    def _begin_if_idle(self, life: int) -> None:
        if life == self._life and self._until_ns < self._now_ns():
            self._begin(life)

    def _granted(self, life: int, sent_ns: int, outcome: Outcome) -> None:
        if life != self._life or not isinstance(outcome, Done) or outcome.result.code is not Code.OK:
            self._try_again(life, outcome, self._begin)
            return
        self._until_ns = sent_ns + self._believed_ns
        self._later(self._ttl_ns // 3, self._renew)
        self._join(life)

    def _join(self, life: int) -> None:
        if life == self._life:
            put = Put(self._member, b"", self._lease)
            self._send(lambda request: lambda node, now_ns: node.submit(request, put, now_ns), self._joined)

    def _joined(self, life: int, _: int, outcome: Outcome) -> None:
        if life == self._life and isinstance(outcome, Done) and outcome.result.code is Code.OK:
            self._claim(life)
        else:
            self._try_again(life, outcome, self._join)

    def _try_again(self, life: int, outcome: Outcome, call: Callable[[int], None]) -> None:
        """A refusal says that nothing was done: ask somebody else."""
        if life == self._life and isinstance(outcome, Refused):
            self._later(self._ttl_ns // 20, call)

    def _renew(self, life: int) -> None:
        if life != self._life:
            return
        if self._now_ns() >= self._until_ns:
            self._judge.gives_up(self._member)
            self._begin(life)
            return
        fate = self._chance()
        if fate < SILENT:
            self._later(2 * self._ttl_ns, self._begin)
            return
        if fate < SILENT + RESIGNS:
            self._resign()
            return
        lease = self._lease
        self._send(lambda request: lambda node, now_ns: node.renew(request, lease, now_ns), self._renewed)
        self._later(self._ttl_ns // 3, self._renew)

    def _resign(self) -> None:
        self._judge.gives_up(self._member)
        revoke = LeaseRevoke(self._lease)
        self._life += 1
        self._send(lambda request: lambda node, now_ns: node.submit(request, revoke, now_ns), lambda *_: None)
        self._later(self._ttl_ns // 4, self._begin)

    def _renewed(self, life: int, sent_ns: int, outcome: Outcome) -> None:
        if life != self._life or not isinstance(outcome, Done):
            return
        if outcome.result.code is not Code.OK:
            self._judge.gives_up(self._member)
            self._begin(life)
        elif self._now_ns() < self._until_ns:  # what is over is not brought back (P12)
            self._until_ns = max(self._until_ns, sent_ns + self._believed_ns)
            if self._token:
                self._judge.believes(self._member, self._token, self._real_until_ns())

    def _claim(self, life: int) -> None:
        """Lead if a linearizable read, refused while the own lease is expiring, shows the own member first."""
        if life != self._life or self._token or self.over:
            return
        lease = self._lease
        query = Range(GROUP, GROUP_END)
        self._send(
            lambda request: lambda node, now_ns: node.read(request, query, now_ns, lease=lease), self._claimed
        )
        self._later(self._ttl_ns // 5, self._claim)

    def _claimed(self, life: int, _: int, outcome: Outcome) -> None:
        if life != self._life or self._token or not isinstance(outcome, Done):
            return
        members = outcome.result.results[0].kvs
        first = min(members, key=lambda member: member.create_revision, default=None)
        if first is not None and first.key == self._member and self._now_ns() < self._until_ns:
            self._token = first.create_revision
            self._judge.believes(self._member, self._token, self._real_until_ns())

    def _real_until_ns(self) -> int:
        """When, in real time, this host's clock will show the end of the belief."""
        left_ns = self._until_ns - self._now_ns()
        return self._kernel.now_ns + left_ns * MILLION // (MILLION + self._drift_ppm)
