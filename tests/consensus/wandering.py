"""A walk without a clock through what may happen to voters: every message, write and alarm comes when chance says so, the
network loses, doubles and reorders, processes end between any two steps, members come and go. After each step everything that
was ever promised is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from incumbent.consensus.api import (
    DeadlinePassed,
    Event,
    Membership,
    MembershipChange,
    MembershipProposed,
    PeerLost,
    Proposed,
    ReadRequested,
    Ready,
    Received,
    ReplicaLimits,
    Role,
    SnapshotTaken,
    Timing,
    TransferRequested,
)
from incumbent.consensus.raft.messages import decode_membership
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import MS, One, Script

SMALL = ReplicaLimits(
    append_entries_max=2,
    in_flight_appends_max=3,
    committed_max=2,
    compaction_tail=1,
    snapshot_chunk_bytes=3,
    promotion_lag_max=1,
)
DOWN_MAX = 2
HEALING_STEPS = 400
HEALING_STEP_NS = 10 * MS


class World(NamedTuple):
    voters: str
    spare: str
    witnesses: str = ""  # of the voters


WORLDS = (
    World("abc", "defg"),
    World("abcde", "fgh"),
    World("abc", "def", "c"),
    World("a", "bcd"),
    World("ab", "cdw"),
)


class Broken(AssertionError):
    """Something that was promised does not hold."""


def require(holds: object, what: str, *facts: object) -> None:
    if not holds:
        raise Broken(what, *facts)


class Truth(NamedTuple):
    """What is committed at one index, and what a machine is after it."""

    term: Term
    data: bytes | None
    tag: bytes
    state: bytes


class Walk:
    def __init__(self, seed: int, steps: int) -> None:
        self.random = Random(seed)
        world = WORLDS[seed % len(WORLDS)]
        self.names = [NodeId(name) for name in world.voters + world.spare]
        priorities = {"b": 1} if self.random.random() < 0.3 else {}
        timing = Timing(preemption_delay_ns=2000 * MS, adaptive_max_ns=self.random.choice((0, 1000 * MS)))
        self.story = Script(
            world.voters, limits=SMALL, timing=timing, witnesses=world.witnesses, priorities=priorities
        )
        for name in world.spare:
            self.story.join(name)
        self.steps = steps
        self.down: set[NodeId] = set()
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.asleep: NodeId | None = None  # no alarm of this one rings
        self.persisted: set[NodeId] = set()  # whose outstanding record is on the disk
        # What is known to be true:
        self.witnesses = {NodeId(name) for name in world.witnesses}  # who was ever agreed to be one
        self.committed: dict[int, Truth] = {0: Truth(Term(0), None, b"", b"0")}
        self.applied = dict.fromkeys(self.names, 0)
        self.leaders: dict[Term, NodeId] = {}
        self.asked: dict[NodeId, set[RequestId]] = {name: set() for name in self.names}
        self.seen: dict[RequestId, int] = {}  # reads: what was committed when they were asked

    # --- what may happen -------------------------------------------------------------------------------------------

    def go(self) -> None:
        happenings = {
            self.write: 60.0, self.deliver: 50.0, self.tick: 8.0, self.propose: 3.0, self.change: 4.0, self.read: 4.0,
            self.compact: 1.5, self.begin: 0.5, self.part: 0.5, self.end: 0.3, self.transfer: 0.3, self.hint: 0.2,
        }  # fmt: skip
        for happens in self.random.choices([*happenings], [*happenings.values()], k=self.steps):
            happens()
        self.heal()

    @property
    def up(self) -> list[NodeId]:
        return [name for name in self.names if name not in self.down]

    def step(self, name: NodeId, event: Event) -> None:
        self.story.step(name, event)
        self.look(self.story[name])

    def leader(self) -> NodeId | None:
        leaders = [name for name in self.up if self.story.role(name) is Role.LEADER]
        return self.random.choice(leaders) if leaders else None

    def request(self, name: NodeId) -> RequestId:
        self.story.requests += 1
        request = RequestId(self.story.requests)
        self.asked[name].add(request)
        return request

    def deliver(self) -> None:
        wires = self.story.wires
        if not wires:
            return
        wire = wires.pop(self.random.randrange(min(len(wires), self.random.choice((1, 3, 30)))))
        chance = self.random.random()
        if chance < 0.03 or wire.to in self.down or (wire.sender, wire.to) in self.cut:
            return
        if chance < 0.06:
            wires.append(wire)
        self.step(wire.to, Received(wire.sender, wire.message))

    def write(self) -> None:
        """As many of a driver's duties as chance allows."""
        name = self.random.choice(self.up)
        if self.story[name].outstanding is None and (
            self.story.ready(name) is None or self.random.random() < 0.5
        ):
            return
        if name not in self.persisted:
            self.story.persist(name)
            self.persisted.add(name)
            if self.random.random() < 0.3:
                return
        self.advance(name)

    def tick(self) -> None:
        self.story.wait(self.random.choice((1, 5, 20, 50, 100)) * MS)
        for name in self.up:
            due = self.story[name].raft.deadline_ns <= self.story.now_ns and name != self.asleep
            if due and self.random.random() < 0.8:
                self.step(name, DeadlinePassed())

    def propose(self) -> None:
        if (leader := self.leader()) is not None:
            request = self.request(leader)
            self.step(leader, Proposed(request, b"%d" % request))

    def read(self) -> None:
        if (leader := self.leader()) is not None:
            request = self.request(leader)
            self.seen[request] = len(self.committed) - 1
            self.step(leader, ReadRequested(request))

    def transfer(self) -> None:
        if (leader := self.leader()) is not None:
            self.step(leader, TransferRequested(self.request(leader), self.random.choice(self.names)))

    def change(self) -> None:
        """Somebody comes, as a learner with data or without, moves up, moves down, or leaves."""
        leader = self.leader()
        if leader is None:
            return
        present = self.story[leader].membership
        voters, learners = set(present.voters), set(present.learners)
        for _ in range(self.random.choice((1, 1, 2, 3))):
            who = self.random.choice(self.names)
            if who in learners:
                learners.remove(who)
                if self.random.random() < 0.9:
                    voters.add(who)
            elif who in voters:
                voters.remove(who)
                if self.random.random() < 0.4:
                    learners.add(who)
            else:
                learners.add(who)
        fresh = learners - present.everyone - present.witnesses
        witnesses = present.witnesses & (voters | learners) | {
            w for w in sorted(fresh) if self.random.random() < 0.3
        }
        wanted = MembershipChange(frozenset(voters), frozenset(learners), frozenset(witnesses))
        self.step(leader, MembershipProposed(self.request(leader), wanted))

    def compact(self) -> None:
        name = self.random.choice(self.up)
        applied = self.applied[name]
        if self.story[name].outstanding is None and self.story[name].state.applied == applied > 0:
            self.step(name, SnapshotTaken(Index(applied), self.committed[applied].state))

    def end(self) -> None:
        """The process of one, rather a leader's, is killed: what is not on its disk is gone."""
        if len(self.down) < DOWN_MAX:
            name = self.leader() if self.random.random() < 0.5 else None
            name = name or self.random.choice(self.up)
            self.down.add(name)
            self.asked[name].clear()
            self.story[name].outstanding = None
            self.persisted.discard(name)

    def begin(self) -> None:
        if self.down:
            name = self.random.choice(sorted(self.down))
            self.down.discard(name)
            self.story.start(name)
            self.applied[name] = 0

    def hint(self) -> None:
        name, lost = self.random.sample(self.names, 2)
        if name not in self.down:
            self.step(name, PeerLost(lost))

    def part(self) -> None:
        """The network parts, one from the rest or half from half; or is whole again. A leader that is alone may sleep, too, and
        rather not wake before there is another."""
        if (
            self.asleep is not None
            and self.story[self.asleep].term == self.newest()
            and self.random.random() < 0.9
        ):
            return
        self.asleep = None
        if self.cut and self.random.random() < 0.6:
            self.cut = set()
            return
        size = self.random.choice((1, len(self.names) // 2))
        one = set(self.random.sample(self.names, size))
        leader = self.leader()
        if leader is not None and self.random.random() < 0.5:
            self.asleep, one = leader, {leader}
        self.cut = {(a, b) for a in self.names for b in self.names if (a in one) != (b in one)}

    # --- what must hold --------------------------------------------------------------------------------------------

    def advance(self, name: NodeId) -> None:
        one = self.story[name]
        ready = one.outstanding
        assert ready is not None
        self.persisted.discard(name)
        self.apply(name, ready)
        answers = [placed.request for placed in ready.placed] + [refusal.request for refusal in ready.refused]
        answers += [*ready.transferred, *(read.request for read in ready.reads)]
        for request in answers:
            require(request in self.asked[name], "a request is answered once, where it was asked", request)
            self.asked[name].discard(request)
        for read in ready.reads:
            require(
                read.index >= self.seen[read.request], "a read sees all that was committed before it", read
            )
        self.story.advance(name)
        self.look(one)

    def apply(self, name: NodeId, ready: Ready) -> None:
        whole = name not in self.witnesses
        if ready.install is not None:
            stored = self.story.voters[name].disk.snapshot
            require(stored is not None and stored.index == ready.install.index, "a snapshot is stored", name)
            assert stored is not None
            index, state = stored.index, stored.state
            require(index >= self.applied[name], "a snapshot takes nothing back", name, index)
            require(
                not whole or state == self.committed[index].state, "a snapshot is whole", name, index, state
            )
            self.applied[name] = index
        for entry in ready.committed:
            require(entry.index == self.applied[name] + 1, "applied in order", name, entry)
            truth = self.committed[entry.index]
            same = entry.term == truth.term and (entry.data == truth.data or not whole)
            require(same, "everybody applies the same", name, entry, truth)
            self.applied[name] = entry.index

    def look(self, one: One) -> None:
        state, log = one.state, one.state.log
        if state.role is Role.LEADER:
            first = self.leaders.setdefault(state.term, one.me) == one.me
            require(first, "one leader per term", state.term, one.me)
            behind = state.term < self.newest()  # leads nobody, and does not know it yet
            require(behind or one.me not in self.witnesses, "a witness never leads", one.me)
            lacks = [
                index
                for index in range(log.first_index, len(self.committed))
                if log.term_at(index) != self.committed[index].term
            ]
            require(
                not lacks or state.term < self.newest(), "a leader has all that is committed", one.me, lacks
            )
        self.learn(one)
        for index in range(max(log.first_index, state.commit - 3), state.commit + 1):
            (entry,) = log.between(index, index)
            truth = self.committed[index]
            require(
                (entry.term, entry.tag) == (truth.term, truth.tag), "committed once", one.me, entry, truth
            )
            require(
                entry.data == truth.data or one.me in self.witnesses, "data is whole", one.me, entry, truth
            )

    def newest(self) -> Term:
        return max(self.leaders, default=Term(0))

    def learn(self, one: One) -> None:
        """The first one to know that something is committed tells what."""
        state, known = one.state, len(self.committed)
        if state.commit < known:
            return
        require(state.log.first_index <= known, "somebody saw it committed", one.me, known)
        for entry in state.log.between(known, state.commit):
            before = self.committed[entry.index - 1].state
            after = b"%d" % (hash((before, entry.term, entry.data)) % 100_000)
            self.committed[entry.index] = Truth(entry.term, entry.data, entry.tag, after)
            if entry.tag:
                self.witnesses |= decode_membership(entry.tag).witnesses
        if state.role is Role.LEADER:
            self.require_durable(state.membership, known, state.commit)

    def require_durable(self, membership: Membership, first: int, last: int) -> None:
        for index in range(first, last + 1):
            there = {name for name in self.names if self.has_on_disk(name, index)}
            for half in (membership.voters, membership.outgoing):
                enough = not half or 2 * len(half & there) > len(half)
                require(enough, "committed is what a quorum has on disk", index, sorted(there), membership)

    def has_on_disk(self, name: NodeId, index: int) -> bool:
        disk = self.story[name].disk
        if disk.snapshot is not None and index <= disk.snapshot.index:
            return True
        return disk.term_at(index) == self.committed[index].term

    # --- in the end ------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Everything works from now on: soon a leader leads, all its members have everything, no request is open."""
        self.cut, self.asleep = set(), None
        while self.down:
            self.begin()
        for name in self.names:
            if self.story[name].outstanding is not None:
                if name not in self.persisted:
                    self.story.persist(name)
                self.advance(name)
        for _ in range(HEALING_STEPS):
            self.heal_step()
        settled = [name for name in self.names if self.has_settled(name)]
        require(settled, "a leader leads, and its members have everything", self.story.leaders())
        require(not any(self.asked.values()), "every request ends", self.asked)
        for name in self.names:
            self.story[name].raft.invariants_at_rest()

    def heal_step(self) -> None:
        self.story.wait(HEALING_STEP_NS)
        for name in self.names:
            if self.story[name].raft.deadline_ns <= self.story.now_ns:
                self.step(name, DeadlinePassed())
            self.flush(name)
        arriving, self.story.wires = self.story.wires, []
        while arriving:
            for wire in arriving:
                self.step(wire.to, Received(wire.sender, wire.message))
                self.flush(wire.to)
            arriving, self.story.wires = self.story.wires, []

    def flush(self, name: NodeId) -> None:
        while self.story.ready(name) is not None:
            self.story.persist(name)
            self.advance(name)

    def has_settled(self, name: NodeId) -> bool:
        state = self.story[name].state
        everyone: Sequence[NodeId] = sorted(state.membership.everyone)
        return (
            state.role is Role.LEADER
            and state.term == max(self.story[each].term for each in everyone)
            and not state.membership.joint
            and all(self.story[each].state.commit == state.log.last_index for each in everyone)
        )
