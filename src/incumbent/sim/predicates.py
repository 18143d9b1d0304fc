"""The predicates of consensus, each a class of its own, written without the core.

They look at disks, messages, applied entries and each voter's standing. Each is incremental: a step costs what it changed,
not what the world has grown to. A predicate names the hooks that it wants; see `Predicate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from incumbent.consensus.api import Entry, Envelope, Membership, Message, Record, Role, Standing
from incumbent.consensus.raft.messages import (
    AppendReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
    decode_membership,
)
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.voter import Voter

Voters = Mapping[NodeId, Voter]


class Predicate:
    """Override what is of interest."""

    def started(self, voter: Voter, now: Standing) -> None: ...
    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        """Something of a voter's standing changed: in a step, by `cause` if that was a message, or in an advance."""

    def sending(self, voter: Voter, envelope: Envelope) -> None: ...
    def durable(self, voter: Voter, record: Record) -> None: ...
    def applied(self, voter: Voter, first: int, last: int) -> None:
        """The machine of a voter was fed the entries first..last, or what stands for them."""


def saved_vote(hard_state: bytes | None) -> tuple[int, str | None]:
    """Term and vote as they stand on a disk, read without the core's codec."""
    if hard_state is None:
        return 0, None
    term, vote = msgspec.msgpack.decode(hard_state)
    return term, vote


class ElectionSafety(Predicate):
    """At most one voter ever leads a term, in the history form: also when the two never lead at the same time."""

    def __init__(self) -> None:
        self.leaders: dict[Term, NodeId] = {}

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        if now.role is Role.LEADER and (before.role is not Role.LEADER or before.term != now.term):
            first = self.leaders.setdefault(now.term, voter.me)
            invariant(
                first == voter.me,
                "election_safety: two leaders of one term",
                term=now.term,
                both=(first, voter.me),
            )


class LeaderAppendOnly(Predicate):
    """A leader never deletes or overwrites what is in its own log."""

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        if before.role is Role.LEADER is now.role and before.term == now.term:
            invariant(
                now.last_index >= before.last_index, "leader_append_only: a leader truncates", leader=voter.me
            )


class Committed(Predicate):
    """What anyone committed, as its disk has it: one history for all. Other predicates read it.

    `sm_safety`: every machine is fed the same entries, each index once and in order; machines that were fed the same are the
    same. `committed_durable`, `commit_rule`: a leader moves its commit index only to an entry of its own term that is on the
    disks of a quorum, of both halves while the membership is joint.
    """

    def __init__(self, voters: Voters) -> None:
        self.entries: list[Entry] = []  # index 1 first
        self.known_in: list[
            Term
        ] = []  # the term in which somebody first applied each; it was committed by then
        self._voters = voters
        self._revisions: dict[int, int] = {}  # of the machine after an index
        self._bare: set[int] = set()  # of `entries`: known from a witness only, so without data

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        if now.role is not Role.LEADER or now.commit <= before.commit:
            return
        for half in (now.membership.voters, now.membership.outgoing):
            holders = sum(self._voters[name].disk.holds(now.commit, now.term) for name in half)
            invariant(
                not half or holders > len(half) // 2,
                "commit_rule: no quorum holds it, or it is of another term",
                leader=voter.me,
                now=now,
                holders=holders,
            )

    def applied(self, voter: Voter, first: int, last: int) -> None:
        disk, known = voter.disk, self.entries
        for index in range(max(first, disk.first_index), last + 1):
            entry = disk.entries.get(Index(index))
            if entry is None or index > len(known) + 1:
                invariant(False, "sm_safety: applied what nobody has", voter=voter.me, at=index)
                return
            bare = voter.me in self._witnesses(voter)
            if index > len(known):
                known.append(entry)
                self.known_in.append(voter.standing.term if voter.standing is not None else entry.term)
                if bare:
                    self._bare.add(index)
                continue
            other = known[index - 1]
            if index in self._bare and not bare:
                self._bare.discard(index)
                known[index - 1] = entry
            elif other.data != entry.data and not bare:
                invariant(False, "sm_safety: two machines differ", voter=voter.me, known=other, found=entry)
            invariant(other.term == entry.term, "sm_safety: two machines differ", known=other, found=entry)
        self._same_machine(voter, last)

    def _witnesses(self, voter: Voter) -> frozenset[NodeId]:
        return voter.standing.membership.witnesses if voter.standing is not None else frozenset()

    def _same_machine(self, voter: Voter, last: int) -> None:
        node = voter.node
        if node is None or voter.me in self._witnesses(voter):
            return
        revision = node.machine.revision
        known = self._revisions.setdefault(last, revision)
        invariant(known == revision, "sm_safety: the same entries, another state", voter=voter.me, at=last)


class LogMatching(Predicate):
    """An (index, term) names one value and one predecessor, whoever stores it; hence equal prefixes, by induction."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[bytes | None, bytes, Term | None]] = {}

    def durable(self, voter: Voter, record: Record) -> None:
        disk, known = voter.disk, self._known
        witness = voter.standing is not None and voter.me in voter.standing.membership.witnesses
        for entry in record.entries:
            previous = disk.term_at(entry.index - 1)
            found = (entry.data, entry.tag, previous)
            first = known.setdefault((entry.index, entry.term), found) if not witness else found
            if first != found and previous is not None and first[2] is not None:
                invariant(
                    False,
                    "log_matching: one place, two histories",
                    at=(entry.index, entry.term),
                    first=first,
                    found=found,
                )


class LeaderCompleteness(Predicate):
    """What was committed in earlier terms is in the log of every later leader. An entry may be much older than the term in
    which it was committed, and a leader may come to know late that it leads: so it is that term that counts."""

    def __init__(self, committed: Committed) -> None:
        self._committed = committed

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        if now.role is not Role.LEADER or (before.role is Role.LEADER and before.term == now.term):
            return
        # By log matching the last one stands for all. A leader's vote is durable, and what was in its log before.
        known_in = self._committed.known_in
        index = next((n for n in range(len(known_in), 0, -1) if known_in[n - 1] < now.term), 0)
        last = self._committed.entries[index - 1] if index else None
        invariant(
            last is None or voter.disk.holds(last.index, last.term),
            "leader_completeness: a leader lacks what is committed",
            leader=voter.me,
            entry=last,
        )


class CommittedStays(Predicate):
    """`quorum_log`: whoever has a committed entry on its disk, and knew by then of the term that committed it, keeps it.

    The quorum that committed it knew, so it always has it. Who slept through that term may have the entry from before, and
    lose it to an Append of the terms between: its copy was never counted (Raft §5.4.2).
    """

    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self._terms: dict[NodeId, int] = {}  # durable before the record that is told of

    def durable(self, voter: Voter, record: Record) -> None:
        term = self._terms.get(voter.me, 0)
        if record.hard_state is not None:
            self._terms[voter.me] = saved_vote(record.hard_state)[0]
        if record.truncate_from is None:
            return
        known, known_in = self._committed.entries, self._committed.known_in
        for entry in voter.disk.cut:
            at = entry.index - 1
            if at < len(known) and known[at].term == entry.term and known_in[at] <= term:
                invariant(
                    voter.disk.holds(entry.index, entry.term),
                    "quorum_log: a committed entry is cut",
                    voter=voter.me,
                    at=entry.index,
                )


class UpToDateCorrect(Predicate):
    """`uptodate_correct`: whoever's last entry is at least as new as yours has everything that you know to be committed."""

    def __init__(self, voters: Voters, committed: Committed) -> None:
        self._voters = voters
        self._committed = committed

    def durable(self, voter: Voter, record: Record) -> None:
        if record.truncate_from is None and record.snapshot is None:
            return  # growing logs are looked at when one of them leads: leader_completeness
        mine, known = voter.disk, self._committed.entries
        for other in self._voters.values():
            standing, theirs = other.standing, other.disk
            if standing is None or other is voter:
                continue
            commit = min(standing.commit, len(known))
            term = known[commit - 1].term if commit else 0
            if not commit or not theirs.holds(commit, term):
                continue  # it knows of the entry, and does not have it on its disk yet
            if (mine.last_term, mine.last_index) >= (theirs.last_term, theirs.last_index):
                invariant(
                    mine.holds(commit, term),
                    "uptodate_correct: a newer log lacks what an older one knows to be committed",
                    newer=voter.me,
                    older=other.me,
                    at=(commit, term),
                )


class VoteOnce(Predicate):
    """On each disk a term has at most one vote, and the term never falls, over all restarts."""

    def __init__(self) -> None:
        self._votes: dict[tuple[NodeId, int], str] = {}
        self._terms: dict[NodeId, int] = {}

    def durable(self, voter: Voter, record: Record) -> None:
        if record.hard_state is None:
            return
        term, vote = saved_vote(record.hard_state)
        me = voter.me
        invariant(term >= self._terms.get(me, 0), "monotone: the durable term falls", voter=me, term=term)
        self._terms[me] = term
        if vote is not None:
            first = self._votes.setdefault((me, term), vote)
            invariant(
                first == vote, "vote_once: two votes in a term", voter=me, term=term, both=(first, vote)
            )

    def started(self, voter: Voter, now: Standing) -> None:
        invariant(
            now.term >= self._terms.get(voter.me, 0), "monotone: the term falls at a restart", voter=voter.me
        )


class Monotone(Predicate):
    """Within one life, term, commit and applied never decrease; and applied <= commit <= last. Snapshots: over restarts."""

    def __init__(self) -> None:
        self._snapshots: dict[NodeId, int] = {}

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        rises = before.term <= now.term and before.commit <= now.commit and before.applied <= now.applied
        if not (rises and now.applied <= now.commit <= now.last_index):
            invariant(False, "monotone: something falls or is out of order", before=before, now=now)

    def durable(self, voter: Voter, record: Record) -> None:
        if record.snapshot is not None:
            before = self._snapshots.get(voter.me, 0)
            invariant(record.snapshot.index > before, "monotone: the snapshot goes back", voter=voter.me)
            self._snapshots[voter.me] = record.snapshot.index


class NoPreVoteBump(Predicate):
    """Handling a pre-vote changes nobody's term."""

    def changed(self, voter: Voter, before: Standing, now: Standing, cause: Message | None) -> None:
        if isinstance(cause, PreVote):
            invariant(before.term == now.term, "no_prevote_bump: a pre-vote changed the term", voter=voter.me)


class MessageTerms(Predicate):
    """Nobody speaks for a term above its own; a pre-vote asks for the next, and its grant names that."""

    def sending(self, voter: Voter, envelope: Envelope) -> None:
        message, standing = envelope.message, voter.standing
        assert standing is not None
        if message.term <= standing.term:
            return
        kind = type(message)
        invariant(
            (kind is PreVote and message.term == standing.term + 1)
            or (kind is PreVoteReply and message.granted),
            "msg_term: a message of a later term",
            voter=voter.me,
            message=message,
        )


class PromisesDurable(Predicate):
    """No vote, vote request or acknowledgement leaves before what it says is on the disk (P51).

    Once a later term is durable an older promise is beyond breaking: nothing more is done in its term.
    """

    def __init__(self) -> None:
        self._saved: dict[NodeId, tuple[int, str | None]] = {}

    def durable(self, voter: Voter, record: Record) -> None:
        if record.hard_state is not None:
            self._saved[voter.me] = saved_vote(record.hard_state)

    def sending(self, voter: Voter, envelope: Envelope) -> None:
        message, me = envelope.message, voter.me
        kind = type(message)
        if kind is PreVote or kind is PreVoteReply:
            return
        term, vote = self._saved.get(me, (0, None))
        if message.term > term:
            invariant(False, "P51: a message of a term that is not durable", voter=me, message=message)
        if message.term < term:
            return
        if kind is AppendReply:
            if message.accepted:
                self._holds(voter, message.index, "P51: an acknowledgement before the entry is durable")
        elif kind is Vote:
            invariant(vote == me, "P51: a vote request before the own vote", voter=me, message=message)
            self._holds(voter, message.last_index, "P51: a vote request for a log that is not durable")
        elif kind is VoteReply and message.granted:
            invariant(vote == envelope.to, "P51: a vote before it is durable", voter=me, message=message)

    def _holds(self, voter: Voter, index: int, what: str) -> None:
        disk = voter.disk
        if index and index not in disk.entries and index >= disk.first_index:
            invariant(False, what, voter=voter.me, index=index)


class ConfigChain(Predicate):
    """`config_chain`: committed memberships follow each other so that each shares its quorums with the next, and no log
    holds two that are not committed."""

    def __init__(self, committed: Committed, first: Membership) -> None:
        self._committed = committed
        self._chain = [first]
        self._seen = 0  # committed entries looked at
        self._in_log: dict[NodeId, list[int]] = {}

    @property
    def changes(self) -> int:
        """Joint memberships that were committed."""
        return sum(membership.joint for membership in self._chain)

    def applied(self, voter: Voter, first: int, last: int) -> None:
        entries = self._committed.entries
        for entry in entries[self._seen :]:
            if entry.tag:
                self._append(decode_membership(entry.tag))
        self._seen = len(entries)

    def _append(self, new: Membership) -> None:
        old = self._chain[-1]
        follows = (
            (new.voters == old.voters and new.outgoing == old.outgoing)  # only learners change
            or (new.joint and not old.joint and new.outgoing == old.voters)
            or (old.joint and not new.joint and new.voters == old.voters)
        )  # fmt: skip
        invariant(follows, "config_chain: memberships without a common quorum", old=old, new=new)
        self._chain.append(new)

    def durable(self, voter: Voter, record: Record) -> None:
        places = self._in_log.setdefault(voter.me, [])
        if record.truncate_from is not None:
            places[:] = [index for index in places if index < record.truncate_from]
        for entry in record.entries:
            if entry.tag:
                places.append(entry.index)
        if len(places) > 1 and voter.standing is not None:
            # A leader knows best what is committed; whoever follows it may learn that later.
            known = max(len(self._committed.entries), voter.standing.commit)
            open_places = [index for index in places if index > known]
            places[:] = open_places or places[-1:]
            if voter.standing.role is Role.LEADER:
                invariant(len(open_places) <= 1, "config_chain: two open memberships", voter=voter.me)


class Predicates:
    """All of them, over one world, and which of them want which hook."""

    def __init__(self, voters: Voters, membership: Membership) -> None:
        self.elections: Final = ElectionSafety()
        self.committed: Final = Committed(voters)
        self.chain: Final = ConfigChain(self.committed, membership)
        self.all: Final[Sequence[Predicate]] = (
            self.elections,
            LeaderAppendOnly(),
            self.committed,
            LogMatching(),
            LeaderCompleteness(self.committed),
            CommittedStays(self.committed),
            UpToDateCorrect(voters, self.committed),
            VoteOnce(),
            Monotone(),
            NoPreVoteBump(),
            MessageTerms(),
            PromisesDurable(),
            self.chain,
        )
        self.started: Final = self._who("started")
        self.changed: Final = self._who("changed")
        self.sending: Final = self._who("sending")
        self.durable: Final = self._who("durable")
        self.applied: Final = self._who("applied")

    def _who(self, hook: str) -> tuple[Predicate, ...]:
        wanted = getattr(Predicate, hook)
        return tuple(one for one in self.all if getattr(type(one), hook) is not wanted)
