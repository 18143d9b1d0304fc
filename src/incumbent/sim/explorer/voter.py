"""One voter of the explorer: the real replica, its disk, the Ready that is out; and every step that it can take alone.

A voter is never changed once it has a number. A step thaws a copy, lets the real core act, looks at the predicates that need
no other voter, and freezes what comes of it; the same step of the same voter is taken once, however many worlds it is part of.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from itertools import permutations
from random import Random
from typing import Final, NamedTuple

import msgspec

from incumbent.consensus.api import (
    DeadlinePassed,
    Entry,
    Envelope,
    Membership,
    Message,
    Proposed,
    Ready,
    Received,
    Record,
    Role,
    Saved,
)
from incumbent.consensus.raft.messages import (
    AppendReply,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.replica import Raft
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId
from incumbent.sim.explorer.frozen import NOW_NS, digest, forget_time, timeless
from incumbent.sim.predicates import saved_vote

NAMES: Final = tuple(NodeId(name) for name in "abc")
PERMUTATIONS: Final = tuple(permutations(range(len(NAMES))))
MEMBERSHIP: Final = Membership(frozenset(NAMES))

# What a voter can do, or have done to it. The word is what is printed.
CAMPAIGN: Final = "campaigns"
BEAT: Final = "beats"
RESIGN: Final = "hears no quorum"
ASK: Final = "is asked"
WRITE: Final = "has its record on disk, and what rests on it leaves"
ADVANCE: Final = "advances"
CRASH: Final = "crashes"
CRASH_WRITTEN: Final = "crashes once its record is on disk"
RECEIVE: Final = "receives"
RECEIVE_LATE: Final = "receives late"

SILENT: Final = (AppendReply, HeartbeatReply, PreVoteReply, Vote, VoteReply, TimeoutNow)
"""Nobody answers these when they are of an old term."""

Step = tuple[str, int, int]
"""One of the words above; for `RECEIVE` the sender's place and the message's number, for `ASK` which proposal it is."""
Fact = tuple[int, bytes | None]
"""The term and the data of an entry."""


class _NoChance(Random):
    """Every timeout is the shortest."""

    def random(self) -> float:
        return 0.0

    def __reduce__(self) -> str:
        return "NO_CHANCE"


NO_CHANCE: Final = _NoChance()


@dataclass(slots=True)
class Voter:
    """A voter that can act: thawed, to be changed once and frozen again."""

    raft: Raft
    hard_state: bytes | None  # on the disk
    entries: tuple[Entry, ...]  # on the disk; index 1 first
    ready: Ready | None = None  # handed out and not advanced
    written: bool = False  # its record is on the disk, and what rests on it has left
    sent: list[Envelope] = field(default_factory=list)  # in this step

    @classmethod
    def start(cls, me: NodeId, hard_state: bytes | None, entries: tuple[Entry, ...]) -> Voter:
        saved = Saved(hard_state, {e.index: e for e in entries})
        raft = Raft(me, MEMBERSHIP, saved, random=NO_CHANCE, now_ns=NOW_NS)
        return cls(raft, hard_state, entries)

    def write(self, record: Record) -> None:
        if record.hard_state is not None:
            self._check_saved(record.hard_state)
            self.hard_state = record.hard_state
        if record.truncate_from is not None:
            self.entries = self.entries[: record.truncate_from - 1]
        for entry in record.entries:
            invariant(entry.index <= len(self.entries) + 1, "a disk has no gaps", entry=entry)
            self.entries = (*self.entries[: entry.index - 1], entry, *self.entries[entry.index :])

    def _check_saved(self, new: bytes) -> None:
        (term, vote), (new_term, new_vote) = saved_vote(self.hard_state), saved_vote(new)
        invariant(new_term >= term, "monotone: the durable term falls", was=term, term=new_term)
        if new_term == term and vote is not None:
            invariant(new_vote == vote, "vote_once: two votes in a term", term=term, both=(vote, new_vote))

    def go_on(self) -> None:
        """Take what is to be done, until the disk has something to do or nothing is left."""
        while self.ready is None:
            forget_time(self.raft)
            self.ready = self.raft.ready()
            if self.ready is None:
                return
            self.send(self.ready.now)
            if self.ready.record is None:
                self.send(self.ready.messages)
                self.advance()

    def release(self) -> None:
        """The record is on the disk. Nobody can tell whether a voter that owes no message has advanced, so it does."""
        assert self.ready is not None
        assert self.ready.record is not None
        self.write(self.ready.record)
        self.send(self.ready.messages)
        if self.ready.messages:
            self.written = True
        else:
            self.advance()

    def advance(self) -> None:
        assert self.ready is not None
        self._check_machine(self.ready)
        self.ready, self.written = None, False
        self.raft.advance()

    def _check_machine(self, ready: Ready) -> None:
        state = self.raft.state
        for index, entry in enumerate(ready.committed, start=state.applied + 1):
            invariant(entry.index == index, "sm_safety: the machine is fed out of order", entry=entry)
            stored = self.entries[index - 1 : index]
            held = [(e.index, e.term, e.data) for e in stored] == [tuple(entry)]
            invariant(held, "sm_safety: the machine is fed what is not on disk", entry=entry)

    def send(self, envelopes: object) -> None:
        for envelope in envelopes:  # type: ignore[attr-defined]
            self._check_promise(envelope.to, envelope.message)
            self.sent.append(envelope)

    def _check_promise(self, to: NodeId, message: Message) -> None:
        """P51: nothing leaves that rests on what is not on the disk. As sim/predicates.py has it."""
        if isinstance(message, PreVote | PreVoteReply):
            return
        term, vote = saved_vote(self.hard_state)
        invariant(message.term <= term, "P51: a message of a term that is not durable", message=message)
        if message.term < term:
            return
        held = len(self.entries)
        if isinstance(message, Vote):
            invariant(vote == self.raft.state.me, "P51: a vote request before the own vote", message=message)
            invariant(message.last_index <= held, "P51: a vote request for a log in memory", message=message)
        elif isinstance(message, VoteReply) and message.granted:
            invariant(vote == to, "P51: a vote before it is durable", message=message)
        elif isinstance(message, AppendReply) and message.accepted:
            invariant(
                message.index <= held, "P51: an acknowledgement before the entry is durable", message=message
            )


class Outcome(NamedTuple):
    """What a step comes to."""

    after: Frozen
    sent: tuple[tuple[int, tuple[int, ...]], ...]  # receiver's place and the messages' numbers
    leads: bool  # it leads, and did not lead this term before
    commits: bool  # it knows of more than before that is committed


class Frozen:
    """One voter, with a number. What predicates look at is taken out of it once."""

    __slots__ = (
        "_blob", "commit", "disk", "disk_steps", "durable_term", "log", "look", "number", "outcomes", "place", "renamed", "role", "steps",
        "term",
    )  # fmt: skip

    def __init__(self, voter: Voter, number: int, look: int) -> None:
        state = voter.raft.state
        self._blob: Final = pickle.dumps(voter, pickle.HIGHEST_PROTOCOL)
        self.number: Final = number
        self.look: Final = look  # as `number`, whoever it is and whatever the others are called
        self.place: Final = NAMES.index(state.me)
        self.role: Final = state.role
        self.term: Final[int] = state.term
        self.durable_term: Final[int] = saved_vote(voter.hard_state)[0]
        self.commit: Final[int] = state.commit
        self.log: Final[tuple[Fact, ...]] = facts(state.log.between(1, state.log.last_index))
        self.disk: Final[tuple[Fact, ...]] = facts(voter.entries)
        self.steps: Final = _steps(voter)
        self.disk_steps: Final = _disk_steps(voter)
        self.outcomes: Final[dict[Step, Outcome]] = {}
        self.renamed: Final[list[int]] = [-1] * len(PERMUTATIONS)  # see `Voters.renamed`

    def thaw(self) -> Voter:
        voter = pickle.loads(self._blob)  # noqa: S301 - these bytes never left this process
        assert isinstance(voter, Voter)
        return voter


def facts(entries: object) -> tuple[Fact, ...]:
    return tuple([(int(e.term), e.data) for e in entries])  # type: ignore[attr-defined]


def _steps(voter: Voter) -> tuple[str, ...]:
    """What it can do by itself, whatever its disk does."""
    leads = voter.raft.state.role is Role.LEADER
    steps = (ASK, BEAT, RESIGN) if leads else (CAMPAIGN,)
    return steps if voter.ready is not None else (*steps, CRASH)


def _disk_steps(voter: Voter) -> tuple[str, ...]:
    """What can become of the Ready that is out."""
    if voter.ready is None:
        return ()
    return (ADVANCE, CRASH) if voter.written else (WRITE, CRASH, CRASH_WRITTEN)


class Voters:
    """All voters that were ever met, and what each step of each comes to."""

    def __init__(self) -> None:
        self.frozen: dict[int, Frozen] = {}
        self.messages: list[Message] = []
        self._numbers: dict[bytes, int] = {}
        self._message_numbers: dict[Message, int] = {}
        self._looks: dict[bytes, int] = {}

    def first(self, place: int) -> Frozen:
        voter = Voter.start(NAMES[place], None, ())
        voter.go_on()
        return self.freeze(voter)

    def freeze(self, voter: Voter) -> Frozen:
        forget_time(voter.raft)
        voter.sent = []
        number = self._number(voter, {name: name for name in NAMES})
        known = self.frozen.get(number)
        if known is None:
            me = voter.raft.state.me
            look = digest(voter, {name: "me" if name == me else "other" for name in NAMES})
            known = Frozen(voter, number, self._looks.setdefault(look, len(self._looks)))
            self.frozen[number] = known
        return known

    def _number(self, voter: Voter, names: dict[NodeId, NodeId]) -> int:
        return self._numbers.setdefault(digest(voter, names), len(self._numbers))  # type: ignore[arg-type]

    def renamed(self, frozen: Frozen, permutation: int) -> int:
        """Its number when the voter at place ``PERMUTATIONS[permutation][n]`` is at place n."""
        names = {NAMES[old]: NAMES[new] for new, old in enumerate(PERMUTATIONS[permutation])}
        number = frozen.renamed[permutation] = self._number(frozen.thaw(), names)
        return number

    def message_number(self, message: Message) -> int:
        message = timeless(message)
        number = self._message_numbers.setdefault(message, len(self.messages))
        if number == len(self.messages):
            self.messages.append(message)
        return number

    def is_dead(self, voter: Frozen, sender: int, number: int) -> bool:
        """Whether a message to this voter can do nothing any more, in this life or a later one: it is of a term which the
        disk has left behind, and of a kind that nobody answers then."""
        message = self.messages[number]
        if not isinstance(message, SILENT) or message.term >= voter.durable_term:
            return False
        after, sent, *_ = self.take(voter, (RECEIVE, sender, number))
        invariant(after is voter and not sent, "a message of an old term does nothing", message=message)
        return True

    def take(self, before: Frozen, step: Step) -> Outcome:
        """What a step comes to. Raises InvariantViolated, or whatever the core raises, when it must not come to that."""
        known = before.outcomes.get(step)
        if known is None:
            known = before.outcomes[step] = self._take(before, step)
        return known

    def _take(self, before: Frozen, step: Step) -> Outcome:
        voter = before.thaw()
        kind = step[0]
        if kind == CRASH_WRITTEN:
            assert voter.ready is not None
            assert voter.ready.record is not None
            voter.write(voter.ready.record)
        if kind in (CRASH, CRASH_WRITTEN):
            voter = Voter.start(voter.raft.state.me, voter.hard_state, voter.entries)
            term = saved_vote(voter.hard_state)[0]
            invariant(voter.raft.state.term >= term, "monotone: the term falls at a restart", term=term)
        elif kind == WRITE:
            voter.release()
        elif kind == ADVANCE:
            voter.advance()
        else:
            self._event(voter, step)
        self._check(voter)
        voter.go_on()
        self._check(voter)
        sent = self._by_receiver(voter.sent)
        after = self.freeze(voter)
        _check_step(before, after, crashed=kind in (CRASH, CRASH_WRITTEN))
        leads = after.role is Role.LEADER and (before.role is not Role.LEADER or before.term != after.term)
        return Outcome(after, sent, leads, after.commit > before.commit)

    def _event(self, voter: Voter, step: Step) -> None:
        kind, first, second = step
        raft, state = voter.raft, voter.raft.state
        if kind == ASK:
            raft.step(Proposed(RequestId(1), b"%d" % first), NOW_NS)
        elif kind in (RECEIVE, RECEIVE_LATE):
            message = self.messages[second]
            term = state.term
            raft.step(Received(NAMES[first], _received(message, late=kind == RECEIVE_LATE)), NOW_NS)
            if isinstance(message, PreVote):
                invariant(state.term == term, "no_prevote_bump: a pre-vote changed the term")
        else:
            if kind == CAMPAIGN:
                state.election_ns = NOW_NS
            elif kind == BEAT:
                state.heartbeat_ns = NOW_NS
            elif kind == RESIGN:
                state.quorum_check_ns = NOW_NS
                for progress in state.progress.values():
                    progress.heard_ns = 0
            raft.step(DeadlinePassed(), NOW_NS)

    def _check(self, voter: Voter) -> None:
        voter.raft.invariants()
        voter.raft.invariants_at_rest()

    def _by_receiver(self, sent: list[Envelope]) -> tuple[tuple[int, tuple[int, ...]], ...]:
        found: dict[int, list[int]] = {}
        for to, message in sent:
            found.setdefault(NAMES.index(to), []).append(self.message_number(message))
        return tuple([(place, tuple(found[place])) for place in sorted(found)])


def _received(message: Message, *, late: bool) -> Message:
    """Whether an append left after the heartbeat that is answered is a matter of time: both are tried."""
    if isinstance(message, HeartbeatReply) and not late:
        return msgspec.structs.replace(message, sent_ns=0)
    return message


def _check_step(before: Frozen, after: Frozen, *, crashed: bool) -> None:
    if crashed:
        return
    invariant(before.term <= after.term and before.commit <= after.commit, "monotone: something falls")
    if before.role is Role.LEADER is after.role and before.term == after.term:
        kept = after.log[: len(before.log)] == before.log
        invariant(kept, "leader_append_only: a leader changes its log", leader=NAMES[after.place])
        if after.commit > before.commit:
            of_its_term = after.log[after.commit - 1][0] == after.term
            invariant(
                of_its_term, "commit_rule: an entry of an earlier term is counted", index=Index(after.commit)
            )
