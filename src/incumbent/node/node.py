"""One voter: a consensus replica, the machine that it feeds, the requests in flight, and lease expiry. PURE.

The driver calls, in this order and no other::

    receive / submit / read / renew / deadline_passed*  →  ready  →  send now, persist, send messages  →  advance

Requests are taken at any time and answered only by `advance`, each exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final, NamedTuple

from incumbent.consensus.api import (
    Blob,
    Committed,
    DeadlinePassed,
    Leadership,
    Membership,
    MembershipChange,
    MembershipProposed,
    Message,
    PeerLost,
    Placed,
    Proposed,
    ReadReady,
    ReadRequested,
    Ready,
    Received,
    Refusal,
    ReplicaLimits,
    Role,
    Saved,
    Snapshot,
    SnapshotTaken,
    Standing,
    Timing,
    TransferRequested,
)
from incumbent.consensus.raft.replica import Raft
from incumbent.errors import invariant
from incumbent.ids import Index, LeaseId, NodeId, RequestId, Term
from incumbent.kv.api import (
    NO_LEASE,
    Change,
    Code,
    Command,
    LeaseCheckpoint,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Query,
    RaiseLevel,
    ReportDigest,
    Result,
    decode,
    encode,
    level_of,
)
from incumbent.kv.machine import HISTORY_BYTES_MAX, HISTORY_CHANGES_MAX, Machine
from incumbent.kv.state import Loaded, load
from incumbent.node.api import (
    Applied,
    Done,
    NodeReady,
    NodeStatus,
    NodeUrgent,
    Outcome,
    Refused,
    RefusedReason,
    Unknown,
)
from incumbent.node.digests import Digested, Digests
from incumbent.node.leases import LeaseDeadlines


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one node takes on."""

    requests_max: int = 65_536  # in flight, of all kinds
    command_bytes_max: int = (
        5 * 1024 * 1024
    )  # one encoded command: sixteen cells of the least size, and what names them
    snapshot_entries: int = 100_000  # applied since the last snapshot: time for the next
    snapshot_bytes: int = 256 * 1024 * 1024  # of commands applied since the last snapshot: likewise
    history_changes: int = HISTORY_CHANGES_MAX  # kept for watches; each node for itself
    history_bytes: int = HISTORY_BYTES_MAX  # of keys and values of these
    digest_entries: int = 16_384  # every node takes a digest at the multiples of this index; the same on all
    replica: ReplicaLimits = ReplicaLimits()


PIECE_BYTES: Final = 1024 * 1024
"""A stored state is read in parts of this size."""


class Taken(NamedTuple):
    """A machine's state after `index`, in pieces that another thread may take while the machine goes on."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    chunks: Iterable[bytes]


def load_state(snapshot: Snapshot) -> Loaded | None:
    """The machine's state that a stored snapshot holds, piece by piece; in any thread."""
    state = snapshot.state
    return load(state[at : at + PIECE_BYTES] for at in range(0, len(state), PIECE_BYTES))


@dataclass(slots=True)
class _Renewal:
    request: RequestId
    lease: LeaseId
    received_ns: int


@dataclass(slots=True)
class _Read:
    query: Query
    lease: LeaseId  # refused while this one is expiring
    after: Index  # not answered before this is applied


NEVER_NS: Final = 1 << 63


@dataclass(slots=True)
class _InFlight:
    """Every request that is not answered yet, by what it waits for."""

    submitted: set[RequestId] = field(default_factory=set)  # proposed, no place known yet
    placed: dict[Index, tuple[RequestId, Term]] = field(default_factory=dict)
    reads: dict[RequestId, _Read] = field(default_factory=dict)  # until their index is known
    readable: list[tuple[Index, RequestId, _Read]] = field(default_factory=list)  # until it is applied
    renewals: list[_Renewal] = field(default_factory=list)  # in no round yet
    round_due_ns: int = NEVER_NS  # when these have to be, at the latest
    rounds: dict[RequestId, list[_Renewal]] = field(default_factory=dict)  # by the round's own request
    confirmed: list[tuple[Index, list[_Renewal]]] = field(default_factory=list)  # until the index is applied
    logged: dict[RequestId, list[_Renewal]] = field(default_factory=dict)  # by the log entry's own request
    count: int = 0  # callers' requests that were taken and not answered: all of the above but the node's own


NOTHING: Final = Ready()
"""Stands for a Ready when only answers are to be handed out."""
EXPIRY_RETRY_NS: Final = 10_000_000
"""When the replica has no room for an expiry, it is proposed again after this long."""
OWN_REQUESTS_FROM: Final = -1
"""The node's own requests (rounds, expiries) count down from here; callers' ids are not negative."""


class Node:
    """See the module's docstring; outcomes are described in node/api.py."""

    def __init__(
        self,
        me: NodeId,
        membership: Membership,
        saved: Saved,
        *,
        random: Random,
        now_ns: int,
        timing: Timing = Timing(),
        limits: Limits = Limits(),
        priority: int = 0,
    ) -> None:
        self.machine = Machine(
            history_changes_max=limits.history_changes, history_bytes_max=limits.history_bytes
        )
        self._replica = Raft(
            me,
            membership,
            saved,
            random=random,
            now_ns=now_ns,
            timing=timing,
            limits=limits.replica,
            priority=priority,
        )
        self._snapshot = Index(0) if saved.snapshot is None else saved.snapshot.index  # the newest
        self._bytes_since = 0  # of commands applied since then
        self._limits = limits
        self._leases = LeaseDeadlines()
        self._flight = _InFlight()
        self._expiries: dict[RequestId, LeaseId] = {}  # proposed by this node, until placed or refused
        self._own_requests = count(OWN_REQUESTS_FROM, -1)
        self._leadership = Leadership(Role.FOLLOWER, self._replica.status().term, None, serving=False)
        self._outstanding: Ready | None = None
        self._me = me
        self._digests = Digests(me)
        self._report: ReportDigest | None = None  # taken, and handed out by the next advance
        self._answers: list[tuple[RequestId, Outcome]] = []  # decided, handed out by the next advance

    # --- what happens to the node --------------------------------------------------------------------------------

    def receive(self, sender: NodeId, message: Message, now_ns: int) -> None:
        """A message from another voter."""
        self._replica.step(Received(sender, message), now_ns)

    def peer_lost(self, peer: NodeId, now_ns: int) -> None:
        """A hint that the peer's process is gone."""
        self._replica.step(PeerLost(peer), now_ns)

    def submit(self, request: RequestId, command: Command, now_ns: int) -> None:
        """Have a command applied on every node. Only a serving leader's own node expires and checkpoints leases, and raises
        the level: from anybody else that is INVALID."""
        self._flight.count += 1
        if isinstance(command, LeaseExpire | LeaseCheckpoint | RaiseLevel):
            self._answer(request, Done(Result(Code.INVALID, self.machine.revision)))
            return
        if level_of(command) > self.machine.level:
            self._answer(request, Refused(RefusedReason.LEVEL))
            return
        data = encode(command)
        if len(data) > self._limits.command_bytes_max:
            self._answer(request, Refused(RefusedReason.TOO_LARGE))
        elif isinstance(command, ReportDigest) or self._has_room(request):
            self._flight.submitted.add(request)
            self._replica.step(Proposed(request, data), now_ns)

    def read(self, request: RequestId, query: Query, now_ns: int, *, lease: LeaseId = NO_LEASE) -> None:
        """Answer a query linearizably. With `lease`, only while that lease is not expiring, and by a leader that has applied what
        was proposed to it before: so a claim that comes while the member in front is leaving finds it gone."""
        self._flight.count += 1
        if self._has_room(request):
            after = Index(0) if lease == NO_LEASE else self._replica.standing().last_index
            self._flight.reads[request] = _Read(query, lease, after)
            self._replica.step(ReadRequested(request), now_ns)

    def renew(self, request: RequestId, lease: LeaseId, now_ns: int, *, patience_ns: int = 0) -> None:
        """Extend a lease to now + its ttl, once a quorum has confirmed that this node still leads. All renewals that come
        in before one ready() share one round, so they cost no log entry and no fsync. With `patience_ns` they also wait for the
        next heartbeat, at most so long: then they cost no message either."""
        self._flight.count += 1
        if self._has_room(request):
            self._flight.renewals.append(_Renewal(request, lease, now_ns))
            wait_ns = max(0, patience_ns) if self._leadership.role is Role.LEADER else 0
            self._flight.round_due_ns = min(self._flight.round_due_ns, now_ns + wait_ns)
            self._leases.hold(lease)

    def raise_level(self, level: int, now_ns: int) -> None:
        """Every member says that it reads commands up to this level: if this node leads, have the log say so. Asking again
        does no harm."""
        if self._leadership.serving and level > self.machine.level:
            own = RequestId(next(self._own_requests))
            self._flight.logged[own] = []
            self._replica.step(Proposed(own, encode(RaiseLevel(level))), now_ns)

    def change_membership(self, request: RequestId, change: MembershipChange, now_ns: int) -> None:
        """Change who votes. Done once the change is agreed on; it completes by itself."""
        self._flight.count += 1
        if self._has_room(request):
            self._flight.submitted.add(request)
            self._replica.step(MembershipProposed(request, change), now_ns)

    def transfer(self, request: RequestId, to: NodeId, now_ns: int) -> None:
        """Hand leadership over. Done once `to` leads."""
        self._flight.count += 1
        if self._has_room(request):
            self._flight.submitted.add(request)
            self._replica.step(TransferRequested(request, to), now_ns)

    def deadline_passed(self, now_ns: int) -> None:
        """`deadline_ns` was reached. An early call does nothing."""
        if now_ns >= self._replica.deadline_ns:
            # On a leader it is time for heartbeats, as a rule: who waits for a round goes with them.
            self._begin_round(NEVER_NS)
        self._replica.step(DeadlinePassed(), now_ns)
        if not self._leadership.serving:
            return
        due = self._leases.due(now_ns)
        for lease in due.over:
            own = RequestId(next(self._own_requests))
            self._expiries[own] = lease
            self._replica.step(Proposed(own, encode(LeaseExpire(lease, self._leadership.term))), now_ns)
        if due.left_ns:
            self._checkpoint(due.left_ns, [], now_ns)

    def _checkpoint(
        self, left_ns: Sequence[tuple[LeaseId, int]], renewals: list[_Renewal], now_ns: int
    ) -> None:
        """Put into the log what is left of leases: less than the ttl, or, for `renewals`, all of it again."""
        own = RequestId(next(self._own_requests))
        self._flight.logged[own] = renewals
        self._replica.step(
            Proposed(own, encode(LeaseCheckpoint(tuple(left_ns), self._leadership.term))), now_ns
        )

    @property
    def deadline_ns(self) -> int:
        """When to call deadline_passed. Re-read it after every call."""
        lease_ns = self._leases.next_ns
        deadline_ns = min(self._replica.deadline_ns, self._flight.round_due_ns)
        return deadline_ns if lease_ns is None else min(deadline_ns, lease_ns)

    def _has_room(self, request: RequestId) -> bool:
        if request < 0:
            invariant(False, "callers' request ids are not negative", request=request)
        if self._digests.split is not None:
            self._answer(request, Refused(RefusedReason.DIVERGED))
            return False
        if self._flight.count <= self._limits.requests_max:
            return True
        self._answer(request, Refused(RefusedReason.OVERLOADED))
        return False

    def _answer(self, request: RequestId, outcome: Outcome) -> None:
        if self._digests.split is not None and isinstance(outcome, Done):
            outcome = Unknown()  # done here, and who knows what elsewhere
        self._flight.count -= 1
        self._answers.append((request, outcome))

    # --- what is to be done --------------------------------------------------------------------------------------

    def ready(self, now_ns: int) -> NodeReady | None:
        """Take what is to be sent and persisted; None while one is outstanding or nothing is to be done."""
        if self._outstanding is not None:
            return None
        self._begin_round(now_ns)
        ready = self._replica.ready()
        if ready is None:
            if not self._answers:
                return None
            ready = NOTHING
        self._outstanding = ready
        return NodeReady(ready.now, ready.record, ready.messages, ready.install is not None)

    @property
    def round_wanted(self) -> bool:
        """Somebody reads or renews and is in no round yet, as far as can be told at no cost."""
        return bool(self._flight.renewals or self._flight.reads)

    def _begin_round(self, now_ns: int) -> None:
        """One round confirms all the renewals that came since the last."""
        if self._flight.renewals and now_ns >= self._flight.round_due_ns:
            self._flight.round_due_ns = NEVER_NS
            own = RequestId(next(self._own_requests))
            self._flight.rounds[own], self._flight.renewals = self._flight.renewals, []
            self._replica.step(ReadRequested(own), self._flight.rounds[own][-1].received_ns)

    def urgent(self, now_ns: int) -> NodeUrgent:
        """What need not wait for a NodeReady: who reads, or renews a lease, waits for no write of others. At any time."""
        self._begin_round(now_ns)
        urgent = self._replica.urgent()
        for read in urgent.reads:
            self._confirm(read)
        # What a NodeReady says of leadership is taken note of by advance; until then nothing is served that depends on it.
        if self._outstanding is None or self._outstanding.leadership is None:
            self._serve(now_ns)
        answers, self._answers = self._answers, []
        return NodeUrgent(urgent.now, answers)

    def advance(self, now_ns: int, stored: Snapshot | None = None, loaded: Loaded | None = None) -> Applied:
        """The last NodeReady is durable and sent: apply, read, take note of leadership, answer. `stored`: the newest snapshot
        that the storage has. `loaded`: its state, when the NodeReady asked to install one and that takes long; else it is
        loaded here."""
        ready = self._outstanding
        invariant(ready is not None, "advance follows ready")
        assert ready is not None
        self._outstanding = None
        for placed in ready.placed:
            self._place(placed)
        if ready.install is not None:
            assert stored is not None
            self.machine.adopt(ready.install.index, load_state(stored) if loaded is None else loaded)
            self._snapshot, self._bytes_since = ready.install.index, 0
        changes: list[Change] = []
        for committed in ready.committed:
            changes += self._apply(committed, now_ns)
        if ready.leadership is not None:
            self._lead(ready.leadership, now_ns)
        for refusal in ready.refused:
            self._refuse(refusal, now_ns)
        for request in ready.transferred:
            self._flight.submitted.discard(request)
            self._answer(request, Done(Result(Code.OK, self.machine.revision)))
        for read in ready.reads:
            self._confirm(read)
        self._serve(now_ns)
        if ready is not NOTHING:
            kept = ready.record is not None and ready.record.snapshot is not None
            self._replica.advance(stored if kept else None)
        answers, self._answers = self._answers, []
        restored = ready.install is not None
        report, self._report = self._report, None
        return Applied(
            answers, self.machine.revision, changes, restored, ready.leadership, report, ready.notes
        )

    @property
    def snapshot_due(self) -> bool:
        """Enough is applied since the last one."""
        return (
            self.machine.applied - self._snapshot >= self._limits.snapshot_entries
            or self._bytes_since >= self._limits.snapshot_bytes
        )

    def begin_snapshot(self) -> Taken | None:
        """The machine as it is now, to be stored and then told of with `snapshot_taken`; None when nothing is applied since the
        last one."""
        applied = self.machine.applied
        if applied <= self._snapshot:
            return None
        self._snapshot, self._bytes_since = applied, 0
        return Taken(applied, self.machine.freeze())

    def snapshot_taken(self, index: Index, state: Blob, now_ns: int) -> None:
        """The state after `index` is stored: let it stand for everything up to there."""
        self._replica.step(SnapshotTaken(index, state), now_ns)

    # --- the steps of advance ------------------------------------------------------------------------------------

    def _place(self, placed: Placed) -> None:
        if placed.request in self._expiries:
            del self._expiries[placed.request]
        else:
            if placed.index in self._flight.placed:
                invariant(False, "a place is given once", placed=placed)
            self._flight.submitted.discard(placed.request)
            self._flight.placed[placed.index] = (placed.request, placed.term)

    def _apply(self, committed: Committed, now_ns: int) -> list[Change]:
        result, changes = None, []
        if committed.data is None:
            self.machine.skip(committed.index)
        else:
            command = decode(committed.data)
            self._bytes_since += len(committed.data)
            result, made = self.machine.apply(committed.index, committed.term, command)
            changes = list(made)
            self._note_lease(command, result, now_ns)
            if isinstance(command, ReportDigest):
                membership = self._replica.standing().membership
                self._digests.tell(command.index, command.voter, command.digest, membership)
        if committed.index % self._limits.digest_entries == 0:
            self._take_digest(committed.index)
        waiting = self._flight.placed.pop(committed.index, None)
        if waiting is not None:
            request, term = waiting
            # Another term at this index: the proposal was overwritten and can never be applied.
            if request < 0:
                self._decide_logged(request, done=committed.term == term)
            elif committed.term == term:
                self._answer(request, Done(result or Result(Code.OK, self.machine.revision)))
            else:
                self._answer(request, self._not_leader())
        return changes

    def _take_digest(self, index: Index) -> None:
        membership = self._replica.standing().membership
        if self._me in membership.witnesses:
            return
        digest = self.machine.digest()
        self._digests.take(index, digest)
        if self._me in membership.voters:
            self._report = ReportDigest(self._me, index, digest)

    def digest(self) -> Digested:
        """Of the machine as it is now."""
        return Digested(self.machine.applied, self.machine.digest())

    def _decide_logged(self, own: RequestId, *, done: bool) -> None:
        """What is left of some leases is in the log now, or it never will be."""
        for renewal in self._flight.logged.pop(own):
            # The leader that put it there acknowledges it, and no other: `start` would have forgotten the renewal.
            if done and self._leadership.serving and self.machine.lease_ttl_ns(renewal.lease) is not None:
                self._leases.decide(renewal.lease, renewal.received_ns, logged=True)
                self._answer(renewal.request, Done(Result(Code.OK, self.machine.revision)))
            else:
                self._leases.decide(renewal.lease, None)
                self._answer(renewal.request, self._not_leader())

    def _note_lease(self, command: Command, result: Result, now_ns: int) -> None:
        if not self._leadership.serving:
            return
        if isinstance(command, LeaseGrant) and result.code is Code.OK:
            self._leases.granted(command.id, command.ttl_ns, now_ns)
        elif isinstance(command, LeaseRevoke):
            self._leases.ended(command.id)
        elif isinstance(command, LeaseExpire) and result.code is not Code.EXPIRE_STALE:
            self._leases.expired(command.id)

    def _lead(self, leadership: Leadership, now_ns: int) -> None:
        before, self._leadership = self._leadership, leadership
        if leadership.role is not Role.LEADER:
            # Placed and not applied: the next leader may commit them or overwrite them. Nobody here can tell.
            for request, _ in self._flight.placed.values():
                if request < 0:
                    self._decide_logged(request, done=False)
                else:
                    self._answer(request, Unknown())
            self._flight.placed.clear()
        if not leadership.serving:
            self._expiries.clear()
            self._leases.stop()
        elif not before.serving or before.term != leadership.term:
            self._expiries.clear()
            left = ((lease, self.machine.lease_ttl_ns(lease) or 0, ns) for lease, ns in self.machine.leases())
            self._leases.start(left, now_ns)

    def _refuse(self, refusal: Refusal, now_ns: int) -> None:
        """The replica never took it up: certainly not done."""
        request = refusal.request
        if request in self._expiries:
            self._leases.postpone(self._expiries.pop(request), now_ns + EXPIRY_RETRY_NS)
        elif request in self._flight.rounds:
            for renewal in self._flight.rounds.pop(request):
                self._leases.decide(renewal.lease, None)
                self._answer(renewal.request, self._not_leader())
        elif request in self._flight.logged:
            self._decide_logged(request, done=False)
        elif request >= 0:
            self._flight.submitted.discard(request)
            self._flight.reads.pop(request, None)
            self._answer(request, Refused(RefusedReason(refusal.why.value), self._leadership.leader))

    def _confirm(self, read: ReadReady) -> None:
        renewals = self._flight.rounds.pop(read.request, None)
        if renewals is not None:
            self._flight.confirmed.append((read.index, renewals))
        else:
            asked = self._flight.reads.pop(read.request)
            self._flight.readable.append((max(read.index, asked.after), read.request, asked))

    def _serve(self, now_ns: int) -> None:
        """Answer every read and renewal whose index is applied."""
        applied = self.machine.applied
        readable, self._flight.readable = self._flight.readable, []
        for index, request, read in readable:
            if read.lease != NO_LEASE and not self._leadership.serving:
                self._answer(request, self._not_leader())
            elif read.lease != NO_LEASE and self._leases.expiring(read.lease):
                self._answer(request, Refused(RefusedReason.LEASE_EXPIRING, self._leadership.leader))
            elif index > applied:
                self._flight.readable.append((index, request, read))
            else:
                self._answer(request, Done(self.machine.query(read.query)))
        confirmed, self._flight.confirmed = self._flight.confirmed, []
        to_log: list[_Renewal] = []
        for index, renewals in confirmed:
            if index > applied:
                self._flight.confirmed.append((index, renewals))
            else:
                to_log += [renewal for renewal in renewals if not self._renew(renewal)]
        if to_log:
            full = {r.lease: self.machine.lease_ttl_ns(r.lease) or 0 for r in to_log}
            self._checkpoint(list(full.items()), to_log, now_ns)

    def _renew(self, renewal: _Renewal) -> bool:
        """Answer a renewal that was confirmed; false when the log has to have it first."""
        until_ns: int | None = None
        if not self._leadership.serving:
            outcome: Outcome = self._not_leader()
        elif self.machine.lease_ttl_ns(renewal.lease) is None:
            outcome = Done(Result(Code.LEASE_NOT_FOUND, self.machine.revision))
        elif self._leases.expiring(renewal.lease):
            outcome = Refused(RefusedReason.LEASE_EXPIRING, self._leadership.leader)
        elif self._leases.checkpointed(renewal.lease):
            return False
        else:
            outcome, until_ns = Done(Result(Code.OK, self.machine.revision)), renewal.received_ns
        self._leases.decide(renewal.lease, until_ns)
        self._answer(renewal.request, outcome)
        return True

    def _not_leader(self) -> Refused:
        return Refused(RefusedReason.NOT_LEADER, self._leadership.leader)

    # -----------------------------------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """See consensus.api.Standing."""
        return self._replica.standing()

    def status(self) -> NodeStatus:
        """This voter at this moment."""
        leases = self.machine.lease_count
        return NodeStatus(
            self._replica.status(),
            self.machine.revision,
            leases,
            self._flight.count,
            self._digests.agreed,
            self._digests.split,
        )

    def invariants(self) -> None:
        """Raises InvariantViolated when the state contradicts itself. Cheap enough for every step of a simulation."""
        self._replica.invariants()
        invariant(self.machine.applied <= self._replica.state.commit, "only what is committed is applied")
        if self._leadership.role is not Role.LEADER:
            invariant(not self._flight.placed, "only a leader has proposals in the log")

    def invariants_at_rest(self) -> None:
        """The same, for what costs too much to be looked at after every step."""
        self._replica.invariants_at_rest()
        self.machine.invariants()
        live = [lease for lease, _ in self.machine.leases()] if self._leadership.serving else []
        self._leases.invariants(live)
