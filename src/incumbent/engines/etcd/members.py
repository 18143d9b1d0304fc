"""Members as transactions of an etcd, and what their answers mean. PURE.

etcd's own recipe: a member is a key of the group, attached to its session's lease; the lowest create revision leads. *First* is
one comparison over the group's range, in the very transaction that claims or writes (P48). Candidates of other libraries stand
in the same queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from incumbent.engines.api import Claimed, Entry, Member, Roster, Waiting
from incumbent.engines.cluster.cells import as_cell
from incumbent.engines.cluster.members import Turn, member_gone
from incumbent.engines.etcd.layout import Layout, lease_of, member_id
from incumbent.errors import IncarnationChanged, ProtocolViolation, SessionGone, invariant
from incumbent.ids import TOKEN_INCARNATION_MAX, LeaseId, make_token
from incumbent.kv.api import (
    Code,
    Compare,
    Condition,
    DeleteRange,
    Is,
    KeyValue,
    OperationResult,
    Put,
    Range,
    Result,
    Txn,
)

_INCARNATION_DIGITS: Final = 3
PROVEN_MAX: Final = 1000
"""Members that are remembered as proven. Beyond that they are proven again."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Each pair of methods is a question and the reading of its answer. To `cells` it is the `Keys`."""

    layout: Layout
    proven: set[Member] = field(default_factory=set)
    """Members that a listing showed to be first, because the comparison over the range could not: older keys lie deeper in it, in
    groups of others. That is proof for as long as the member lives, since whoever comes later has a higher create revision."""

    # --- joining and leaving --------------------------------------------------------------------------------------

    def join(self, lease: LeaseId, group: str, value: bytes, since: int) -> Txn:
        """Put the key if it is not there. Not when the session left the group after the revision `since`, either: a request
        that got stuck on its way must not bring back a member that nobody waits for any more (P2)."""
        key, left = self.layout.member_key(group, member_id(lease)), self.layout.left_key(lease, group)
        return Txn(
            conditions=(
                Condition(key, Compare.CREATE, Is.EQUAL, 0),
                Condition(left, Compare.MOD, Is.LESS, since + 1),
            ),
            then=(Put(key, value, lease),),
            orelse=(Range(key),),
        )

    def joined(self, lease: LeaseId, group: str, result: Result) -> Member | None:
        """None: it left after `since`; ask anew with a later one. Raises SessionGone."""
        if result.code is Code.LEASE_NOT_FOUND:
            raise SessionGone("the session has ended")
        if result.succeeded:
            return Member(group, member_id(lease), result.revision)
        found = result.results[0].kvs
        return Member(group, member_id(lease), found[0].create_revision) if found else None

    def stand(self, lease: LeaseId, group: str, value: bytes, since: int, cell: str | None) -> Txn:
        """A join that also tells, in few bytes, whether anybody else is there."""
        asked, (start, end) = self.join(lease, group, value, since), self.layout.members(group)
        return Txn(
            asked.conditions,
            (*asked.then, Range(start, end, limit=2), *self._beside(group, cell)),
            asked.orelse,
        )

    def stood(self, member: Member, result: Result) -> Claimed | None:
        """Of one who joined by it. Nothing else in the group's range, not even deeper: first. Else only a claim tells."""
        _, found, *cell, incarnation = result.results
        mine = self.layout.member_key(member.group, member.id)
        alone = [(kv.key, kv.create_revision) for kv in found.kvs] == [(mine, member.revision)]
        # No incarnation can have been raised since: all of this was read at the revision of the join.
        return _first(member, incarnation, cell) if alone else None

    def remove(self, group: str, member: str, revision: int) -> Txn:
        """Compares the create revision, so that a late one never removes a re-join."""
        key, lease = self.layout.member_key(group, member), lease_of(member)
        mark = () if lease is None else (Put(self.layout.left_key(lease, group), b"", lease),)
        return Txn(conditions=(_is_there(key, revision),), then=(DeleteRange(key), *mark))

    def update(self, lease: LeaseId, member: Member, value: bytes) -> Txn:
        """The key stays attached to its lease, and keeps its create revision: the place."""
        key = self.layout.member_key(member.group, member.id)
        return Txn(conditions=(_is_there(key, member.revision),), then=(Put(key, value, lease),))

    # --- who is first ---------------------------------------------------------------------------------------------

    def cell_key(self, group: str, name: str) -> bytes:
        return self.layout.cell_key(group, name)

    def is_first(self, member: Member) -> tuple[Condition, ...]:
        """What a claim and every guarded write compare: this very member is there, nobody is in front of it, and the
        incarnation was not raised since it joined."""
        mine = _is_there(self.layout.member_key(member.group, member.id), member.revision)
        same = Condition(self.layout.incarnation_key, Compare.MOD, Is.LESS, member.revision)
        if member in self.proven:
            return mine, same
        start, end = self.layout.members(member.group)
        return mine, Condition(start, Compare.CREATE, Is.GREATER, member.revision - 1, end), same

    def look(self, group: str) -> tuple[Range, Range]:
        """What tells who is first."""
        return Range(*self.layout.members(group)), Range(self.layout.incarnation_key)

    def was_first(self, member: Member, found: OperationResult, incarnation: OperationResult) -> bool:
        """`is_first`, computed from what `look` found at one revision."""
        queue = self._queue(member.group, found)
        first = (
            bool(queue)
            and queue[0].key == self.layout.member_key(member.group, member.id)
            and queue[0].create_revision == member.revision
            and not raised_since(incarnation, member.revision)
        )
        if first and len(queue) < len(found.kvs):
            if len(self.proven) >= PROVEN_MAX:
                self.proven.clear()
            self.proven.add(member)
        return first

    def claim(self, member: Member, cell: str | None) -> Txn:
        """One read-only transaction: first, or the roster, which may prove it too."""
        beside = self._beside(member.group, cell)
        return Txn(
            conditions=self.is_first(member),
            then=beside,
            orelse=(Range(*self.layout.members(member.group)), *beside),
        )

    def claimed(self, member: Member, result: Result) -> Claimed | Waiting:
        """Raises MemberGone, IncarnationChanged."""
        if result.succeeded:
            *cell, incarnation = result.results
            return _first(member, incarnation, cell)
        found, *cell, incarnation = result.results
        queue = self._queue(member.group, found)
        mine = self.layout.member_key(member.group, member.id)
        if not any(kv.key == mine and kv.create_revision == member.revision for kv in queue):
            raise member_gone(member)
        if raised_since(incarnation, member.revision):
            raise IncarnationChanged(
                f"member {member.id} joined before the incarnation was raised: join again"
            )
        if self.was_first(member, found, incarnation):
            return _first(member, incarnation, cell)
        ahead = [kv for kv in queue if kv.create_revision < member.revision]
        invariant(ahead, "a live member that is not first has one in front", member=member)
        return Waiting(self._id(member.group, ahead[-1]), Turn(result.revision, (ahead[-1].key, mine)), None)

    def roster(self, group: str) -> Txn:
        return Txn(then=self.look(group))

    def as_roster(self, group: str, result: Result) -> Roster:
        found, incarnation = result.results
        queue = self._queue(group, found)
        token = None
        if queue and not raised_since(incarnation, queue[0].create_revision):
            token = make_token(incarnation_of(incarnation), queue[0].create_revision)
        entries = tuple(self._entry(group, kv) for kv in queue)
        return Roster(result.revision, entries, token)

    def _beside(self, group: str, cell: str | None) -> tuple[Range, ...]:
        """What comes last in the answer to a claim: the cell that was asked for with it, and the incarnation."""
        incarnation = Range(self.layout.incarnation_key)
        return (incarnation,) if cell is None else (Range(self.cell_key(group, cell)), incarnation)

    def _queue(self, group: str, found: OperationResult) -> list[KeyValue]:
        """The members in order: the keys one level below the group. What lies deeper is in groups of others (P5)."""
        start = len(self.layout.members(group).key)
        return sorted(
            (kv for kv in found.kvs if b"/" not in kv.key[start:]), key=lambda kv: kv.create_revision
        )

    def _entry(self, group: str, kv: KeyValue) -> Entry:
        member = self._id(group, kv)
        return Entry(member, kv.create_revision, kv.value, ours=lease_of(member) is not None)

    def _id(self, group: str, kv: KeyValue) -> str:
        return kv.key.removeprefix(self.layout.members(group).key).decode(errors="backslashreplace")


def _first(member: Member, incarnation: OperationResult, cell: Sequence[OperationResult]) -> Claimed:
    token = make_token(incarnation_of(incarnation), member.revision)
    return Claimed(member, token, as_cell(cell[0]) if cell else None)


def incarnation_of(found: OperationResult) -> int:
    """Raises ProtocolViolation when somebody else wrote there."""
    if not found.kvs:
        return 0
    key, value = found.kvs[0].key, found.kvs[0].value
    if not value.isdigit() or len(value) > _INCARNATION_DIGITS or int(value) > TOKEN_INCARNATION_MAX:
        raise ProtocolViolation(
            f"{key!r} holds no incarnation: {value[:20]!r}; delete it, then raise the incarnation"
        )
    return int(value)


def raised_since(found: OperationResult, revision: int) -> bool:
    return bool(found.kvs) and found.kvs[0].mod_revision > revision


def _is_there(key: bytes, revision: int) -> Condition:
    return Condition(key, Compare.CREATE, Is.EQUAL, revision)
