"""A world of voters in the fast gear: the kernel, the network, the disks, clients and candidates, and everyone who watches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from incumbent.consensus.api import Envelope, Membership, Message, Record, ReplicaLimits, Role, Timing
from incumbent.consensus.raft.messages import (
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    TimeoutNow,
    Vote,
)
from incumbent.errors import invariant
from incumbent.ids import NodeId, RequestId
from incumbent.node.api import Applied, Outcome
from incumbent.node.node import Limits, Node
from incumbent.sim.clients import Call, Client, Register, Requests, Retrier
from incumbent.sim.kernel import Kernel
from incumbent.sim.leases import Candidate, Elections
from incumbent.sim.network import MS, Network, Topology
from incumbent.sim.predicates import Predicates
from incumbent.sim.trace import Trace
from incumbent.sim.voter import Host, Voter

HINT_DELAY_MAX_NS: Final = 2 * MS
"""How late the others learn that a process closed its connections."""
HINT_SEEN: Final = 0.7
"""The share of the others who learn of it at all."""
CLIENT_DELAY_MAX_NS: Final = 3 * MS
ANSWER_LOST: Final = 0.02
ASKS_A_LEADER: Final = 0.85
SESSIONS_TTL_NS: Final = 900 * MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a world is made of, before anything goes wrong."""

    seed: int
    nodes: int = 5
    topology: Topology = Topology.LAN
    spares: int = 0  # processes that are no members yet
    witness: bool = False  # the last voter is one
    priorities: tuple[int, ...] = ()
    timing: Timing = Timing()
    limits: Limits = Limits()
    clients: int = 3
    retriers: int = 1
    candidates: int = 2
    client_drift_ppm: int = 0
    events_max: int = 200_000
    trace: bool = False


@dataclass(slots=True)
class Tally:
    """What happened, in numbers."""

    notes: Counter[str] = field(default_factory=Counter)
    failovers_ns: list[int] = field(
        default_factory=list
    )  # from a leader's fault to the next leader that serves
    leaders: int = 0  # terms that began to serve


class World:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.kernel = Kernel(setting.seed, setting.events_max)
        self.names = [NodeId(f"n{number}") for number in range(1, setting.nodes + setting.spares + 1)]
        first = frozenset(self.names[: setting.nodes])
        witnesses = frozenset(self.names[setting.nodes - 1 : setting.nodes] if setting.witness else ())
        self.membership = Membership(first, witnesses=witnesses)
        self.network = Network(self.kernel.stream("network"), self.names, setting.topology)
        self.fsync_max_ns = 2 * MS
        self.outdated: set[NodeId] = set()  # whoever speaks the frame format of the version before
        self.corruption = 0.0  # the share of snapshots' pieces that are damaged on their way
        self.voters: dict[NodeId, Voter] = {}
        self.requests = Requests()
        self.register = Register()
        self.elections = Elections(self.kernel)
        self.predicates = Predicates(self.voters, self.membership)
        self.tally = Tally()
        self.trace = Trace(self.kernel) if setting.trace else None
        self._chance = self.kernel.stream("world").random
        self._leaderless_ns: tuple[NodeId, int] | None = None
        host = Host(
            kernel=self.kernel,
            membership=self.membership,
            timing=setting.timing,
            limits=setting.limits,
            fsync_ns=self._fsync_ns,
            send=self._send,
            watcher=self,
            chance=self.kernel.stream("voters").random,
        )
        for number, name in enumerate(self.names):
            priority = setting.priorities[number] if number < len(setting.priorities) else 0
            self.voters[name] = self.make_voter(number, name, host, priority)
        for voter in self.voters.values():
            voter.start()
        self.clients = [
            Client(number, self.kernel, self.ask, self.register) for number in range(setting.clients)
        ]
        self.retriers = [Retrier(number, self.kernel, self.ask) for number in range(setting.retriers)]
        drift_ppm = setting.client_drift_ppm
        self.candidates = [
            Candidate(
                number,
                self.kernel,
                self.ask,
                self.elections,
                SESSIONS_TTL_NS,
                -drift_ppm if number % 2 else drift_ppm,
            )
            for number in range(1, setting.candidates + 1)
        ]

    def make_voter(self, number: int, name: NodeId, host: Host, priority: int) -> Voter:
        return Voter(number, name, host, priority=priority)

    # --- what voters stand on ------------------------------------------------------------------------------------

    def _fsync_ns(self, voter: Voter) -> int:
        longest_ns = self.fsync_max_ns if voter.fsync_max_ns is None else voter.fsync_max_ns
        return 100_000 + int(self._chance() * longest_ns)

    def _send(self, sender: Voter, envelope: Envelope) -> None:
        for predicate in self.predicates.sending:
            predicate.sending(sender, envelope)
        to, message = envelope
        receiver = self.voters.get(to)
        if receiver is None:
            return
        if self.outdated and (sender.me in self.outdated or to in self.outdated):
            message = as_before(message)
            if message is None:
                return
        if self.corruption and isinstance(message, InstallSnapshot) and self._chance() < self.corruption:
            message = msgspec.structs.replace(message, chunk=message.chunk[::-1])
        after, receive = self.kernel.after, receiver.receive
        for delay_ns in self.network.delays_ns(sender.me, to):
            after(delay_ns, receive, sender.me, message)
        if self.trace is not None:
            self.trace.sent(sender, envelope)

    # --- clients -------------------------------------------------------------------------------------------------

    def ask(
        self,
        request: Callable[[RequestId], Callable[[Node, int], None]],
        then: Callable[[Outcome], None],
    ) -> None:
        """Send a client's request to somebody, most likely to one who takes itself for the leader. The answer may be lost."""
        leading = self._leading() if self._chance() < ASKS_A_LEADER else []
        if leading:
            voter = leading[int(self._chance() * len(leading))]
        else:
            voter = self.voters[self.names[int(self._chance() * len(self.names))]]
        if self._chance() < ANSWER_LOST:
            then = _nobody
        delay_ns = int(self._chance() * CLIENT_DELAY_MAX_NS)
        self.kernel.after(delay_ns, voter.ask, request(self.requests.open(then)))

    # --- what is done to voters ----------------------------------------------------------------------------------

    def running(self) -> list[Voter]:
        return [voter for voter in self.voters.values() if voter.node is not None]

    def _leading(self) -> list[Voter]:
        """Everyone who takes itself for the leader: several when one does not know yet that its time is over."""
        return [
            voter
            for voter in self.voters.values()
            if voter.standing is not None and voter.standing.role is Role.LEADER and voter.node is not None
        ]

    def leader(self) -> Voter | None:
        """Whoever leads the highest term."""
        return max(self._leading(), key=_term_of, default=None)

    def crash(self, voter: Voter) -> None:
        """Kill the process. Its connections close, and some of the others notice."""
        self.leader_fails(voter)
        voter.crash()
        for other in self.running():
            if self._chance() < HINT_SEEN:
                self.hint(other, voter.me)

    def hint(self, voter: Voter, lost: NodeId) -> None:
        """Tell `voter`, rightly or wrongly, that `lost` closed its connections."""
        delay_ns = int(self._chance() * HINT_DELAY_MAX_NS)
        self.kernel.after(delay_ns, voter.ask, lambda node, now_ns: node.peer_lost(lost, now_ns))

    def leader_fails(self, voter: Voter) -> None:
        """From now on it cannot lead, if it does: the time to the next one is counted."""
        standing = voter.standing
        if standing is not None and standing.role is Role.LEADER and self._leaderless_ns is None:
            self._leaderless_ns = (voter.me, self.kernel.now_ns)

    def others(self, one: NodeId) -> list[NodeId]:
        return [name for name in self.names if name != one]

    def run_for(self, duration_ns: int) -> None:
        self.kernel.run_until(self.kernel.now_ns + duration_ns)

    # --- everyone who watches ------------------------------------------------------------------------------------

    def started(self, voter: Voter) -> None:
        standing = voter.standing
        assert standing is not None
        for predicate in self.predicates.started:
            predicate.started(voter, standing)
        if self.trace is not None:
            self.trace.started(voter)

    def crashed(self, voter: Voter) -> None:
        if self.trace is not None:
            self.trace.crashed(voter)

    def stepped(self, voter: Voter, cause: Message | None) -> None:
        node, before = voter.node, voter.standing
        assert node is not None
        assert before is not None
        node.invariants()
        now = node.standing()
        if now != before:
            voter.standing = now
            for predicate in self.predicates.changed:
                predicate.changed(voter, before, now, cause)
        kernel = self.kernel
        kernel.mix(kernel.now_ns ^ (voter.number << 48) ^ (now.last_index << 24) ^ now.commit)

    def sending(self, voter: Voter, envelope: Envelope) -> None: ...

    def durable(self, voter: Voter, record: Record) -> None:
        for predicate in self.predicates.durable:
            predicate.durable(voter, record)
        if self.trace is not None:
            self.trace.durable(voter, record)

    def advanced(self, voter: Voter, applied: Applied) -> None:
        before = voter.standing
        self.stepped(voter, None)
        now = voter.standing
        assert before is not None
        assert now is not None
        if now.applied > before.applied:
            for predicate in self.predicates.applied:
                predicate.applied(voter, before.applied + 1, now.applied)
            if applied.changes:
                self.elections.applied(applied.changes)
        if applied.notes:
            notes = self.tally.notes
            for note in applied.notes:
                notes[note.code] += 1
        if applied.leadership is not None and applied.leadership.serving:
            self._serves(voter)
        if self.trace is not None:
            self.trace.advanced(voter, before, applied)
        if (report := applied.digest) is not None:
            self.ask(lambda number: lambda node, now_ns: node.submit(number, report, now_ns), _nobody)
        self.answered(voter, applied.outcomes)

    def answered(self, voter: Voter, outcomes: Sequence[tuple[RequestId, Outcome]]) -> None:
        """Who asked is told."""
        if self.trace is not None:
            self.trace.answered(voter, outcomes)
        for request, outcome in outcomes:
            self.requests.ended(request, outcome)

    def _serves(self, voter: Voter) -> None:
        self.tally.leaders += 1
        if self._leaderless_ns is not None and self._leaderless_ns[0] != voter.me:
            self.tally.failovers_ns.append(self.kernel.now_ns - self._leaderless_ns[1])
        self._leaderless_ns = None

    def calls(self) -> list[Call]:
        """What all clients saw."""
        return [call for client in self.clients for call in client.calls]

    # --- at the end ----------------------------------------------------------------------------------------------

    def stop_clients(self) -> None:
        asking: Sequence[Client | Retrier | Candidate] = (*self.clients, *self.retriers, *self.candidates)
        for one in asking:
            one.over = True

    def demand_more(self) -> None:
        """What else is demanded once everything is healed and everyone has caught up."""

    def close(self) -> None:
        """The world ends."""

    def at_rest(self) -> None:
        """What is too costly to be looked at after every step."""
        for voter in self.running():
            node = voter.node
            assert node is not None
            node.invariants_at_rest()
        self._machines_agree()

    def _machines_agree(self) -> None:
        states: dict[int, tuple[NodeId, bytes]] = {}
        for voter in self.running():
            node, standing = voter.node, voter.standing
            assert node is not None
            assert standing is not None
            if voter.me in standing.membership.witnesses:
                continue
            mine = (voter.me, node.machine.snapshot())
            first = states.setdefault(standing.applied, mine)
            invariant(
                first[1] == mine[1], "sm_safety: equal logs, unequal machines", both=(first[0], voter.me)
            )


def _term_of(voter: Voter) -> int:
    return 0 if voter.standing is None else voter.standing.term


def _nobody(_: Outcome) -> None:
    """The answer is lost."""


def as_before(message: Message) -> Message | None:
    """What is left of a message between this version and the one before: fields that it did not have take their defaults,
    messages that it did not know are not understood."""
    match message:
        case Vote():
            return Vote(message.term, message.last_index, message.last_term)
        case Heartbeat():
            return Heartbeat(message.term, message.commit, message.round)
        case HeartbeatReply():
            return HeartbeatReply(message.term, message.round)
        case InstallSnapshot() | InstallSnapshotReply() | TimeoutNow():
            return None
        case _:
            return message


def small_limits(snapshot_entries: int, chunk_bytes: int, tail: int) -> Limits:
    """Limits so small that a short run meets them."""
    return Limits(
        snapshot_entries=snapshot_entries,
        replica=ReplicaLimits(
            append_entries_max=8,
            in_flight_appends_max=4,
            snapshot_chunk_bytes=chunk_bytes,
            compaction_tail=tail,
        ),
    )
