"""The predicates of consensus, each an observer of its own, written without the core (PROTOCOLS 3.1 by name).

They look at disks, messages, applied entries and what clients were told; `PromisesDurable`, `MessageTerms`,
`NoPreVoteBump` and `CommitRule` know Raft, the rest any protocol of this interface. Each is incremental: a step costs what it changed, not what the world has grown to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from incumbent.consensus.api import Committed, Received, Role, Status
from incumbent.consensus.raft.messages import AppendReply, PreVote, PreVoteReply, Vote, VoteReply
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId, Term
from incumbent.sim.disk import SimDisk
from incumbent.sim.observe import (
    Acknowledged,
    Advanced,
    Applied,
    Durable,
    Observer,
    Readied,
    ReadInvoked,
    ReadServed,
    RequestRefused,
    Sending,
    Started,
    Stepped,
)

Disks = Mapping[NodeId, SimDisk]


def saved_vote(hard_state: bytes | None) -> tuple[int, str | None]:
    """Term and vote as they stand on a disk, read without the core's codec."""
    if hard_state is None:
        return 0, None
    term, vote = msgspec.msgpack.decode(hard_state)
    return term, vote


class ElectionSafety(Observer):
    """At most one voter ever leads a term, in the history form: also when the two never lead at the same time."""

    def __init__(self) -> None:
        self._leaders: dict[Term, NodeId] = {}

    def _see(self, me: NodeId, status: Status) -> None:
        if status.role is Role.LEADER:
            first = self._leaders.setdefault(status.term, me)
            invariant(
                first == me, "election_safety: two leaders of one term", term=status.term, both=(first, me)
            )

    def stepped(self, seen: Stepped) -> None:
        self._see(seen.me, seen.after)

    def advanced(self, seen: Advanced) -> None:
        self._see(seen.me, seen.status)


class LeaderAppendOnly(Observer):
    """A leader never deletes or overwrites what is in its own log."""

    def readied(self, seen: Readied) -> None:
        if seen.status.role is Role.LEADER and seen.ready.record is not None:
            invariant(
                seen.ready.record.truncate_from is None,
                "leader_append_only: a leader truncates",
                leader=seen.me,
            )


class LogMatching(Observer):
    """An (index, term) names one value and one predecessor, whoever stores it; hence equal prefixes, by induction."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._known: dict[tuple[Index, Term], tuple[bytes | None, Term | None]] = {}

    def durable(self, seen: Durable) -> None:
        for entry in seen.record.entries:
            found = (entry.data, self._disks[seen.me].term_at(entry.index - 1))
            known = self._known.setdefault((entry.index, entry.term), found)
            invariant(
                known == found,
                "log_matching: one place, two histories",
                at=(entry.index, entry.term),
                voter=seen.me,
            )


class StateMachineSafety(Observer):
    """Every machine is fed the same entries, each index once and in order."""

    def __init__(self) -> None:
        self.committed: list[Committed] = []  # index 1 first; other predicates read it
        self._next: dict[NodeId, int] = {}

    def started(self, seen: Started) -> None:
        self._next[seen.me] = 1

    def applied(self, seen: Applied) -> None:
        invariant(
            seen.entry.index == self._next[seen.me],
            "sm_safety: applied out of order",
            voter=seen.me,
            index=seen.entry.index,
        )
        self._next[seen.me] += 1
        if seen.entry.index == len(self.committed) + 1:
            self.committed.append(seen.entry)
        known = self.committed[seen.entry.index - 1]
        invariant(
            known == seen.entry,
            "sm_safety: two machines differ",
            voter=seen.me,
            first=known,
            second=seen.entry,
        )


class LeaderCompleteness(Observer):
    """What was committed in earlier terms is in the log of every later leader."""

    def __init__(self, disks: Disks, machines: StateMachineSafety) -> None:
        self._disks = disks
        self._machines = machines
        self._seen: set[tuple[NodeId, Term]] = set()

    def _see(self, me: NodeId, status: Status) -> None:
        if status.role is not Role.LEADER or (me, status.term) in self._seen:
            return
        self._seen.add((me, status.term))
        # A leader's vote is durable, and so is everything that was in its log before.
        for entry in self._machines.committed:
            held = self._disks[me].term_at(entry.index)
            if entry.term < status.term:
                invariant(
                    held == entry.term,
                    "leader_completeness: a leader lacks",
                    leader=me,
                    entry=entry,
                    held=held,
                )

    def stepped(self, seen: Stepped) -> None:
        self._see(seen.me, seen.after)

    def advanced(self, seen: Advanced) -> None:
        self._see(seen.me, seen.status)


class CommittedDurable(Observer):
    """What anyone hands to its machine is on the disks of a quorum at that time."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._highest = 0

    def readied(self, seen: Readied) -> None:
        for entry in seen.ready.committed:
            if entry.index <= self._highest:
                continue
            self._highest = entry.index
            holders = sum(disk.term_at(entry.index) == entry.term for disk in self._disks.values())
            invariant(
                holders > len(self._disks) // 2,
                "committed_durable: no quorum holds",
                entry=entry,
                holders=holders,
            )


class CommitRule(Observer):
    """A leader moves its commit index only to an entry of its own term that is on the disks of a quorum (Raft 5.4.2)."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self._commit: dict[NodeId, Index] = {}

    def _see(self, me: NodeId, now: Status) -> None:
        before, self._commit[me] = self._commit.get(me, Index(0)), now.commit
        if now.role is not Role.LEADER or now.commit <= before:
            return
        holders = sum(disk.term_at(now.commit) == now.term for disk in self._disks.values())
        invariant(
            holders > len(self._disks) // 2,
            "commit_rule: no quorum holds",
            leader=me,
            now=now,
            holders=holders,
        )

    def started(self, seen: Started) -> None:
        self._commit[seen.me] = seen.status.commit

    def stepped(self, seen: Stepped) -> None:
        self._see(seen.me, seen.after)

    def advanced(self, seen: Advanced) -> None:
        self._see(seen.me, seen.status)


class VoteOnce(Observer):
    """On each disk a term has at most one vote, and the term never falls, over all restarts."""

    def __init__(self) -> None:
        self._votes: dict[tuple[NodeId, int], str] = {}
        self._terms: dict[NodeId, int] = {}

    def durable(self, seen: Durable) -> None:
        if seen.record.hard_state is None:
            return
        term, vote = saved_vote(seen.record.hard_state)
        invariant(
            term >= self._terms.get(seen.me, 0), "monotone: the durable term falls", voter=seen.me, term=term
        )
        self._terms[seen.me] = term
        if vote is not None:
            first = self._votes.setdefault((seen.me, term), vote)
            invariant(
                first == vote, "vote_once: two votes in a term", voter=seen.me, term=term, both=(first, vote)
            )

    def started(self, seen: Started) -> None:
        invariant(
            seen.status.term >= self._terms.get(seen.me, 0),
            "monotone: the term falls at a restart",
            voter=seen.me,
        )


class Monotone(Observer):
    """Within one life, term, commit and applied never decrease; and applied <= commit <= last."""

    def __init__(self) -> None:
        self._last: dict[NodeId, Status] = {}

    def _see(self, me: NodeId, now: Status) -> None:
        before = self._last.get(me, now)
        self._last[me] = now
        rises = before.term <= now.term and before.commit <= now.commit and before.applied <= now.applied
        invariant(rises, "monotone: something falls", voter=me, before=before, now=now)
        invariant(now.applied <= now.commit <= now.last_index, "monotone: out of order", voter=me, now=now)

    def started(self, seen: Started) -> None:
        self._last[seen.me] = seen.status

    def stepped(self, seen: Stepped) -> None:
        self._see(seen.me, seen.after)

    def advanced(self, seen: Advanced) -> None:
        self._see(seen.me, seen.status)


class NoPreVoteBump(Observer):
    """Handling a pre-vote changes nobody's term."""

    def stepped(self, seen: Stepped) -> None:
        if isinstance(seen.event, Received) and isinstance(seen.event.message, PreVote):
            invariant(
                seen.before.term == seen.after.term,
                "no_prevote_bump: a pre-vote changed the term",
                voter=seen.me,
            )


class MessageTerms(Observer):
    """Nobody speaks for a term above its own; a pre-vote asks for the next, and its grant names that."""

    def __init__(self) -> None:
        self._terms: dict[NodeId, Term] = {}

    def started(self, seen: Started) -> None:
        self._terms[seen.me] = seen.status.term

    def stepped(self, seen: Stepped) -> None:
        self._terms[seen.me] = seen.after.term

    def sending(self, seen: Sending) -> None:
        message = seen.envelope.message
        if isinstance(message, PreVoteReply) and message.granted:
            return  # it names the term that was asked for
        ahead = 1 if isinstance(message, PreVote) else 0
        invariant(
            message.term <= self._terms[seen.me] + ahead,
            "msg_term: a message of a later term",
            voter=seen.me,
            message=message,
        )


class PromisesDurable(Observer):
    """No vote, vote request or acknowledgement leaves before what it says is on the disk (P51).

    Once a later term is durable an older promise is beyond breaking: nothing more is done in its term.
    """

    def __init__(self, disks: Disks) -> None:
        self._disks = disks

    def sending(self, seen: Sending) -> None:
        message, disk = seen.envelope.message, self._disks[seen.me]
        if isinstance(message, PreVote | PreVoteReply):
            return
        term, vote = saved_vote(disk.hard_state)
        invariant(
            message.term <= term,
            "P51: a message of a term that is not durable",
            voter=seen.me,
            message=message,
        )
        if message.term < term:
            return
        if isinstance(message, Vote):
            invariant(
                vote == seen.me, "P51: a vote request before the own vote", voter=seen.me, message=message
            )
            self._holds(seen.me, message.last_index, "P51: a vote request for a log that is not durable")
        elif isinstance(message, VoteReply) and message.granted:
            invariant(
                vote == seen.envelope.to, "P51: a vote before it is durable", voter=seen.me, message=message
            )
        elif isinstance(message, AppendReply) and message.accepted:
            self._holds(seen.me, message.index, "P51: an acknowledgement before the entry is durable")

    def _holds(self, me: NodeId, index: Index, what: str) -> None:
        invariant(self._disks[me].term_at(index) is not None, what, voter=me, index=index)


class AcknowledgedKept(Observer):
    """What a client was told is done stands in the one history, at its place."""

    def __init__(self, machines: StateMachineSafety) -> None:
        self._machines = machines
        self.entries: list[Committed] = []

    def acknowledged(self, seen: Acknowledged) -> None:
        self.entries.append(seen.entry)

    def check(self, applied: Mapping[NodeId, int]) -> None:
        """At the end, when every voter has caught up."""
        for entry in self.entries:
            history = self._machines.committed
            invariant(
                history[entry.index - 1] == entry,
                "acknowledged: an acknowledged proposal is lost",
                entry=entry,
            )
            for voter, last in applied.items():
                invariant(
                    last >= entry.index, "acknowledged: not applied in the end", voter=voter, entry=entry
                )


class ReadsLinearizable(Observer):
    """A read sees every write acknowledged, and every state shown, before it was asked for."""

    def __init__(self) -> None:
        self.served = 0
        self._shown = Index(0)  # the highest index that any client knows of
        self._floors: dict[RequestId, Index] = {}

    def acknowledged(self, seen: Acknowledged) -> None:
        self._shown = max(self._shown, seen.entry.index)

    def read_invoked(self, seen: ReadInvoked) -> None:
        self._floors[seen.request] = self._shown

    def read_served(self, seen: ReadServed) -> None:
        floor = self._floors.pop(seen.request)
        invariant(
            seen.index >= floor,
            "read_lin: a read shows the past",
            request=seen.request,
            index=seen.index,
            floor=floor,
        )
        self._shown = max(self._shown, seen.applied)
        self.served += 1


class RequestsEndOnce(Observer):
    """A request is told at most one end."""

    def __init__(self) -> None:
        self._ended: set[RequestId] = set()

    def _end(self, request: RequestId) -> None:
        invariant(request not in self._ended, "requests_once: a request ended twice", request=request)
        self._ended.add(request)

    def acknowledged(self, seen: Acknowledged) -> None:
        self._end(seen.request)

    def read_served(self, seen: ReadServed) -> None:
        self._end(seen.request)

    def request_refused(self, seen: RequestRefused) -> None:
        self._end(seen.request)


class Checkers:
    """All of them, over one world."""

    def __init__(self, disks: Disks) -> None:
        self.machines: Final = StateMachineSafety()
        self.acknowledged: Final = AcknowledgedKept(self.machines)
        self.reads: Final = ReadsLinearizable()
        self.all: Final[Sequence[Observer]] = (
            ElectionSafety(),
            LeaderAppendOnly(),
            LogMatching(disks),
            self.machines,
            LeaderCompleteness(disks, self.machines),
            CommittedDurable(disks),
            CommitRule(disks),
            VoteOnce(),
            Monotone(),
            NoPreVoteBump(),
            MessageTerms(),
            PromisesDurable(disks),
            self.acknowledged,
            self.reads,
            RequestsEndOnce(),
        )
