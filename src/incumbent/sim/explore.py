"""``python -m incumbent.sim.explore``: every world that three voters can get into, breadth first, within a few bounds.

What moves is the real core. Time is left out: any voter that does not lead may campaign at any moment, and nobody is held
back because it heard a leader, so more can happen here than in any timing. Between the handing out of a record and its being
durable anything may happen; a crash may come before it is durable, or after and before anything that rests on it has left.
Links keep their order and hold two messages; what does not fit is lost. Worlds that differ only in the voters' names are one.

The predicates are looked at in every world; the first that breaks is printed with the shortest way to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from itertools import permutations
from random import Random
from typing import Any, Final, NamedTuple

from incumbent.consensus.api import (
    Entry,
    Membership,
    Message,
    Proposed,
    Ready,
    Received,
    Record,
    Role,
    Saved,
    Timing,
)
from incumbent.consensus.log import Log
from incumbent.consensus.outbox import Outbox
from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import AppendReply, PreVote, PreVoteReply, Vote, VoteReply
from incumbent.consensus.raft.replica import Raft
from incumbent.consensus.raft.state import State
from incumbent.errors import InvariantViolated, invariant
from incumbent.ids import NodeId, RequestId
from incumbent.sim.predicates import saved_vote

LINK_MAX: Final = 2
NOW_NS: Final = 1_000_000_000_000
NAMES: Final = tuple(NodeId(name) for name in "abc")
MEMBERSHIP: Final = Membership(frozenset(NAMES))
PERMUTATIONS: Final = tuple(permutations(range(3)))

KEPT: Final = frozenset(
    {
        "term",
        "vote",
        "role",
        "leader",
        "log",
        "durable",
        "commit",
        "applied",
        "votes",
        "term_start",
        "progress",
        "out",
    }
)
ABSTRACTED: Final = frozenset(
    {
        # The same in every world: no membership changes, snapshots, transfers, reads or byte limits here.
        "me", "random", "timing", "limits", "priority", "configured", "membership", "snapshot", "snapshot_crc",
        "snapshot_unsaved", "incoming", "transfer", "reads", "uncommitted_bytes",
        # Time, and what is only for it.
        "now_ns", "heard_ns", "election_ns", "election_min_ns", "round_trip_ns", "rank", "hint", "hint_retries", "parked",
        "written_ns", "heartbeat_ns", "quorum_check_ns", "preemption_ns", "probe_due",
        # What is only looked at.
        "checked",
    }
)  # fmt: skip
"""Every field of State is in one of the two, or a test fails."""


@dataclass(frozen=True, slots=True)
class Budget:
    terms: int = 2
    proposals: int = 2
    crashes: int = 1
    losses: int = 0
    duplications: int = 0
    heartbeats: int = 0
    campaigns: int = 3


class Voter:
    """One voter: the replica, its disk, and the Ready that is out. Never changed once it is part of a world."""

    __slots__ = ("_signature", "entries", "hard_state", "keys", "outstanding", "raft")

    def __init__(self, raft: Raft, hard_state: bytes | None, entries: tuple[Entry, ...]) -> None:
        self.raft = raft
        self.hard_state = hard_state  # on the disk
        self.entries = entries  # on the disk; index 1 first
        self.outstanding: Ready | None = None  # its record is on its way to the disk
        self._signature: int | None = None
        self.keys: dict[tuple[int, ...], int] = {}  # by permutation

    def clone(self) -> Voter:
        other = Voter(clone_raft(self.raft), self.hard_state, self.entries)
        other.outstanding = self.outstanding
        return other

    def write(self, record: Record) -> None:
        if record.hard_state is not None:
            self.hard_state = record.hard_state
        kept = self.entries if record.truncate_from is None else self.entries[: record.truncate_from - 1]
        if record.entries:
            kept = kept[: record.entries[0].index - 1] + tuple(record.entries)
        self.entries = kept

    @property
    def signature(self) -> int:
        """As `key`, with every other voter called the same: equal for voters that may stand for each other."""
        if self._signature is None:
            me = self.raft.state.me
            self._signature = _hash_of(_told(self, {name: "me" if name == me else "other" for name in NAMES}))
        return self._signature

    def key(self, order: tuple[int, ...]) -> int:
        """Everything of it that matters, with names as this permutation has them."""
        found = self.keys.get(order)
        if found is None:
            number = {NAMES[old]: str(new) for new, old in enumerate(order)}
            found = self.keys[order] = _hash_of(_told(self, number))
        return found


def _hash_of(what: object) -> int:
    return int.from_bytes(blake2b(repr(what).encode(), digest_size=8).digest())


def clone_raft(raft: Raft) -> Raft:
    other = copy(raft)
    state = other.state = copy(raft.state)
    log = state.log = copy(raft.state.log)
    log._entries = list(log._entries)  # noqa: SLF001 - the explorer takes the core apart
    state.votes = dict(state.votes)
    state.progress = {peer: copy(progress) for peer, progress in state.progress.items()}
    for progress in state.progress.values():
        progress.in_flight = deque(progress.in_flight)
    state.configured = list(state.configured)
    state.parked = {}
    out = state.out
    state.out = Outbox(now=list(out.now), after=list(out.after))
    return other


def _told(voter: Voter, number: Mapping[NodeId, str]) -> object:
    raft, state = voter.raft, voter.raft.state
    log: Log = state.log
    progress = sorted(
        (
            number[peer],
            p.mode.value,
            p.match,
            p.next,
            p.waiting,
            p.match_sequence == p.sequence,
            tuple(p.in_flight),
        )
        for peer, p in state.progress.items()
    )
    return (
        state.role.value,
        state.term,
        number.get(state.vote) if state.vote else None,
        number.get(state.leader) if state.leader else None,
        [(e.term, e.data) for e in log.between(1, log.last_index)],
        log.stable,
        log._handed_out,  # noqa: SLF001
        log._truncate_from,  # noqa: SLF001
        saved_vote(voter.hard_state)[0],
        _named(saved_vote(voter.hard_state)[1], number),
        [(e.term, e.data) for e in voter.entries],
        state.commit,
        state.applied,
        sorted((number[peer], granted) for peer, granted in state.votes.items()),
        state.term_start,
        progress,
        sorted((number[e.to], repr(message_key(e.message))) for e in (*state.out.now, *state.out.after)),
        None if voter.outstanding is None else _ready_key(voter.outstanding, number),
        raft._announced is not None and raft._announced.role.value,  # noqa: SLF001
    )


def _named(name: str | None, number: Mapping[NodeId, str]) -> str | None:
    return None if name is None else number[NodeId(name)]


def _ready_key(ready: Ready, number: Mapping[NodeId, str]) -> object:
    record = ready.record
    return (
        None
        if record is None
        else (record.hard_state is not None, record.truncate_from, [e[:3] for e in record.entries]),
        sorted((number[e.to], repr(message_key(e.message))) for e in ready.messages),
        [c.index for c in ready.committed],
    )


def message_key(message: Message) -> tuple[object, ...]:
    """A message without what only time and bookkeeping put into it."""
    return (type(message).__name__, *(
        getattr(message, field)
        for field in message.__struct_fields__
        if field not in ("sequence", "sent_ns", "round_trip_ns", "rank", "priority")
    ))  # fmt: skip


class World(NamedTuple):
    voters: tuple[Voter, ...]
    links: tuple[tuple[Message, ...], ...]  # from 3 * sender + receiver
    budget: Budget
    leaders: tuple[tuple[int, int], ...]  # term and voter: the history of who led
    committed: tuple[tuple[int, bytes | None], ...]  # term and data: what anybody applied
    votes: tuple[tuple[int, int, str], ...]  # voter, term and vote that any disk ever held


def first_world(budget: Budget) -> World:
    voters = tuple(_start(name, None, ()) for name in NAMES)
    return World(voters, ((),) * 9, budget, (), (), ())


def _start(name: NodeId, hard_state: bytes | None, entries: tuple[Entry, ...]) -> Voter:
    saved = Saved(hard_state, {e.index: e for e in entries})
    raft = Raft(name, MEMBERSHIP, saved, random=Random(1), now_ns=NOW_NS, timing=Timing())
    return Voter(raft, hard_state, entries)


def key_of(world: World) -> int:
    """The same for worlds that differ in the voters' names only."""
    signatures = [voter.signature for voter in world.voters]
    best: tuple[object, ...] | None = None
    for order in PERMUTATIONS:
        if not signatures[order[0]] <= signatures[order[1]] <= signatures[order[2]]:
            continue  # only voters that look alike are exchanged
        place = {old: new for new, old in enumerate(order)}
        mine = (
            tuple(world.voters[old].key(order) for old in order),
            tuple(tuple(_short(m) for m in world.links[3 * a + b]) for a in order for b in order),
            tuple(sorted((term, place[leader]) for term, leader in world.leaders)),
            tuple(
                sorted(
                    (place[voter], term, str(place[NAMES.index(NodeId(vote))]))
                    for voter, term, vote in world.votes
                )
            ),
        )
        if best is None or mine < best:
            best = mine
    return _hash_of((best, world.committed, world.budget))


_SHORT: dict[int, tuple[Message, int]] = {}


def _short(message: Message) -> int:
    """The key of a message, remembered for as long as it lives."""
    found = _SHORT.get(id(message))
    if found is None or found[0] is not message:
        found = (message, _hash_of(message_key(message)))
        _SHORT[id(message)] = found
        if len(_SHORT) > 200_000:
            _SHORT.clear()
    return found[1]


# --- what can happen -------------------------------------------------------------------------------------------------


def successors(world: World) -> Iterator[tuple[str, World]]:
    """Every step from here, with its name."""
    for number in range(3):
        yield from _own_steps(world, number)
    for link, messages in enumerate(world.links):
        if messages:
            yield from _deliveries(world, link, messages)


def _own_steps(world: World, number: int) -> Iterator[tuple[str, World]]:
    voter, name, budget = world.voters[number], NAMES[number], world.budget
    state = voter.raft.state
    if state.role is not Role.LEADER and state.term < budget.terms and budget.campaigns:
        spent = world._replace(budget=replace(budget, campaigns=budget.campaigns - 1))
        yield (
            f"{name} campaigns",
            _change(spent, number, lambda v: election.on_election_timeout(v.raft.state)),
        )
    if state.role is Role.LEADER and budget.proposals:
        data = b"%d" % budget.proposals
        spent = world._replace(budget=replace(budget, proposals=budget.proposals - 1))
        yield (
            f"{name} is asked",
            _change(spent, number, lambda v: v.raft.step(Proposed(RequestId(1), data), NOW_NS)),
        )
    if state.role is Role.LEADER and budget.heartbeats:
        spent = world._replace(budget=replace(budget, heartbeats=budget.heartbeats - 1))
        yield (
            f"{name} beats",
            _change(spent, number, lambda v: replication.on_heartbeat_timeout(v.raft.state)),
        )
    if voter.outstanding is not None:
        yield f"{name}'s record is durable", _settle(_write(world, number), number)
    if budget.crashes:
        spent = world._replace(budget=replace(budget, crashes=budget.crashes - 1))
        yield f"{name} crashes", _crash(spent, number)
        if voter.outstanding is not None:
            yield f"{name} crashes once its record is durable", _crash(_write(spent, number), number)


def _deliveries(world: World, link: int, messages: tuple[Message, ...]) -> Iterator[tuple[str, World]]:
    sender, to = divmod(link, 3)
    what = f"{type(messages[0]).__name__} {NAMES[sender]} → {NAMES[to]}"
    rest = _with_link(world, link, messages[1:])
    yield what, _receive(rest, sender, to, messages[0])
    budget = world.budget
    if budget.losses:
        yield f"{what} is lost", rest._replace(budget=replace(budget, losses=budget.losses - 1))
    if budget.duplications:
        spent = world._replace(budget=replace(budget, duplications=budget.duplications - 1))
        yield f"{what}, and comes again", _receive(spent, sender, to, messages[0])


def _receive(world: World, sender: int, to: int, message: Message) -> World:
    return _change(world, to, lambda v: v.raft.step(Received(NAMES[sender], message), NOW_NS))


def _with_link(world: World, link: int, messages: tuple[Message, ...]) -> World:
    return world._replace(links=(*world.links[:link], messages, *world.links[link + 1 :]))


def _change(world: World, number: int, do: Callable[[Voter], object]) -> World:
    """Something happens to a voter; then its driver goes on as far as it can without the disk."""
    voter = world.voters[number].clone()
    do(voter)
    _forget_time(voter.raft.state)
    return _go_on(_put(world, number, voter), number)


def _put(world: World, number: int, voter: Voter) -> World:
    world = world._replace(voters=(*world.voters[:number], voter, *world.voters[number + 1 :]))
    state = voter.raft.state
    state.invariants()
    if state.role is Role.LEADER and (state.term, number) not in world.leaders:
        _check_new_leader(world, voter)
        world = world._replace(leaders=(*world.leaders, (state.term, number)))
    return world


def _forget_time(state: State) -> None:
    """Nobody is held back by what it heard a moment ago."""
    state.heard_ns, state.hint, state.hint_retries, state.parked = None, None, 0, {}
    state.now_ns = NOW_NS
    state.probe_due = False
    for progress in state.progress.values():
        progress.heard_ns = NOW_NS
        progress.sent_ns = 0


def _go_on(world: World, number: int) -> World:
    """Take what is to be done, until the disk has something to do or nothing is left."""
    while world.voters[number].outstanding is None:
        voter = world.voters[number].clone()
        ready = voter.raft.ready()
        if ready is None:
            return world
        world = _send(_put(world, number, voter), number, ready.now)
        voter.outstanding = ready
        if ready.record is None:
            world = _settle(world, number)
    return world


def _write(world: World, number: int) -> World:
    """The record is on the disk; nothing that rests on it has left."""
    voter = world.voters[number].clone()
    assert voter.outstanding is not None
    assert voter.outstanding.record is not None
    voter.write(voter.outstanding.record)
    return _check_vote(_put(world, number, voter), number, voter)


def _settle(world: World, number: int) -> World:
    """What rested on the record leaves, and the voter goes on."""
    voter = world.voters[number].clone()
    ready = voter.outstanding
    assert ready is not None
    voter.outstanding = None
    world = _send(world, number, ready.messages)
    voter.raft.advance()
    _forget_time(voter.raft.state)
    return _go_on(_put(_check_applied(world, ready), number, voter), number)


def _send(world: World, number: int, envelopes: Any) -> World:
    for to, message in envelopes:
        _check_promise(world.voters[number], to, message)
        link = 3 * number + NAMES.index(to)
        if len(world.links[link]) < LINK_MAX:
            world = _with_link(world, link, (*world.links[link], message))
    return world


def _crash(world: World, number: int) -> World:
    voter = world.voters[number]
    return _put(world, number, _start(NAMES[number], voter.hard_state, voter.entries))


# --- the predicates --------------------------------------------------------------------------------------------------


def _check_new_leader(world: World, voter: Voter) -> None:
    state = voter.raft.state
    invariant(
        state.term not in dict(world.leaders), "election_safety: two leaders of one term", term=state.term
    )
    mine = [(e.term, e.data) for e in state.log.between(1, len(world.committed))]
    wanted = [entry for entry in world.committed if entry[0] < state.term]
    invariant(
        mine[: len(wanted)] == wanted, "leader_completeness: a leader lacks what is committed", has=mine
    )


def _check_vote(world: World, number: int, voter: Voter) -> World:
    term, vote = saved_vote(voter.hard_state)
    if vote is None or (number, term, vote) in world.votes:
        return world
    invariant(
        all((of, at) != (number, term) for of, at, _ in world.votes),
        "vote_once: two votes in a term",
        term=term,
    )
    return world._replace(votes=(*world.votes, (number, term, vote)))


def _check_applied(world: World, ready: Ready) -> World:
    for entry in ready.committed:
        known = world.committed
        found = (entry.term, entry.data)
        if entry.index > len(known):
            holders = sum(
                len(v.entries) >= entry.index and v.entries[entry.index - 1].term == entry.term
                for v in world.voters
            )
            invariant(holders >= 2, "committed_durable: no quorum holds it", entry=entry)
            world = world._replace(committed=(*known, found))
        else:
            invariant(known[entry.index - 1] == found, "sm_safety: two machines differ", entry=entry)
    return world


def _check_promise(voter: Voter, to: NodeId, message: Message) -> None:
    """P51, as sim/predicates.py has it."""
    if isinstance(message, PreVote | PreVoteReply):
        return
    term, vote = saved_vote(voter.hard_state)
    me = voter.raft.state.me
    invariant(message.term <= term, "P51: a message of a term that is not durable", message=message)
    if message.term < term:
        return
    if isinstance(message, Vote):
        invariant(vote == me, "P51: a vote request before the own vote", message=message)
        invariant(message.last_index <= len(voter.entries), "P51: a vote request for a log in memory")
    elif isinstance(message, VoteReply) and message.granted:
        invariant(vote == to, "P51: a vote before it is durable", message=message)
    elif isinstance(message, AppendReply) and message.accepted:
        invariant(message.index <= len(voter.entries), "P51: an acknowledgement before the entry is durable")


# --- the search ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    states: int = 0
    transitions: int = 0
    depth: int = 0
    frontier: int = 0  # the largest
    ended: bool = False  # every world was seen
    violation: str | None = None
    way: tuple[str, ...] = ()  # to the violation: the shortest there is
    seconds: float = 0.0


def explore(budget: Budget, states_max: int) -> Found:
    """Breadth first, until every world was seen, `states_max` were, or a predicate breaks."""
    began = time.monotonic()
    found = Found(states=1)
    start = first_world(budget)
    seen = {key_of(start)}
    # A way is a chain of (step before, name): worlds share their beginnings.
    layer: list[tuple[World, tuple[Any, str] | None]] = [(start, None)]
    while layer and found.violation is None and found.states < states_max:
        found.frontier = max(found.frontier, len(layer))
        layer = _next_layer(layer, seen, found, states_max)
        found.depth += bool(layer)
    found.ended = not layer and found.violation is None
    found.seconds = time.monotonic() - began
    return found


def _next_layer(
    layer: list[tuple[World, tuple[Any, str] | None]], seen: set[int], found: Found, states_max: int
) -> list[tuple[World, tuple[Any, str] | None]]:
    following: list[tuple[World, tuple[Any, str] | None]] = []
    for world, way in layer:
        steps = successors(world)
        while True:
            try:
                step = next(steps, None)
            except InvariantViolated as violation:
                found.violation, found.way = str(violation), _names(way)
                return []
            if step is None:
                break
            name, after = step
            found.transitions += 1
            key = key_of(after)
            if key not in seen:
                seen.add(key)
                found.states += 1
                following.append((after, (way, name)))
                if found.states >= states_max:
                    return following
    return following


def _names(way: tuple[Any, str] | None) -> tuple[str, ...]:
    names: list[str] = []
    while way is not None:
        way, name = way
        names.append(name)
    return tuple(reversed(names))


def fields_of_state() -> set[str]:
    return {field.name for field in fields(State)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim.explore", description=__doc__)
    for field in fields(Budget):
        parser.add_argument(
            f"--{field.name}", type=int, default=field.default, help=f"at most so many {field.name}"
        )
    parser.add_argument("--states", type=int, default=1_000_000, help="stop after so many (1,000,000)")
    options = parser.parse_args(arguments)
    budget = Budget(**{field.name: getattr(options, field.name) for field in fields(Budget)})
    found = explore(budget, options.states)
    end = "to its end" if found.ended else f"stopped at {found.states}"
    sys.stdout.write(
        f"{found.states} states, {found.transitions} transitions, depth {found.depth}, at most {found.frontier} at one "
        f"depth, {found.seconds:.0f} s: {'broken' if found.violation else end}\n"
    )
    if found.violation:
        lines = [f"{number:3} {name}" for number, name in enumerate(found.way, start=1)]
        sys.stdout.write("\n".join([*lines, found.violation]) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
