"""Members as transactions of the machine, and what their answers mean. PURE.

Each pair is a question and the reading of its answer. Joining is "if my key is not there, put it": whoever comes second,
also a retry of its own, finds the key that is there. The first member is the one with the lowest create revision, so
*first* is one comparison over the group's range: no key was created before mine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from incumbent.engines.api import Claimed, Entry, Member, Roster, Waiting
from incumbent.engines.cluster.cells import as_cell
from incumbent.engines.cluster.layout import (
    INCARNATION_KEY,
    cell_key,
    decode_incarnation,
    lease_of,
    member_id,
    member_key,
    members_range,
)
from incumbent.errors import IncarnationChanged, MemberGone, SessionGone, invariant
from incumbent.ids import LeaseId, Revision, make_token
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

__all__ = ["cell_key", "is_first", "look", "was_first"]  # as a module it is the engine's `cells.Keys`


class Turn(NamedTuple):
    """The cursor of who waits: what to watch from a revision on."""

    revision: Revision
    keys: tuple[bytes, ...]  # of the member waited for, and the own


def join(lease: LeaseId, group: str, value: bytes) -> Txn:
    key = member_key(group, member_id(lease))
    return Txn(
        conditions=(Condition(key, Compare.CREATE, Is.EQUAL, 0),),
        then=(Put(key, value, lease),),
        orelse=(Range(key),),
    )


def joined(lease: LeaseId, group: str, result: Result) -> Member:
    """Raises SessionGone."""
    if result.code is Code.LEASE_NOT_FOUND:
        raise SessionGone("the session has ended")
    if result.succeeded:
        return Member(group, member_id(lease), result.revision)
    (mine,) = result.results[0].kvs
    return Member(group, member_id(lease), mine.create_revision)


def claim(member: Member, cell: str | None) -> Txn:
    """One read-only transaction, to be read under the member's lease: first, or the roster."""
    return Txn(
        conditions=is_first(member),
        then=(Range(INCARNATION_KEY), *beside(member.group, cell)),
        orelse=look(member.group),
    )


def claimed(member: Member, result: Result) -> Claimed | Waiting:
    """Raises MemberGone, IncarnationChanged."""
    if result.code is Code.LEASE_NOT_FOUND:
        raise member_gone(member)
    if result.succeeded:
        incarnation, *cell = result.results
        return _first(member, incarnation, cell)
    found, incarnation = result.results
    queue = _in_order(found)
    mine = member_key(member.group, member.id)
    if not any(kv.key == mine and kv.create_revision == member.revision for kv in queue):
        raise member_gone(member)
    if _raised_since(incarnation, member.revision):
        raise IncarnationChanged(f"member {member.id} joined before the cluster was restored: join again")
    ahead = [kv for kv in queue if kv.create_revision < member.revision]
    invariant(ahead, "a live member that is not first has one in front", member=member)
    return Waiting(_id(member.group, ahead[-1]), Turn(result.revision, (ahead[-1].key, mine)), None)


def stand(lease: LeaseId, group: str, value: bytes, cell: str | None) -> Txn:
    """A join that also tells, in few bytes, whether anybody else is there."""
    asked = join(lease, group, value)
    after = (Range(*members_range(group), limit=2), Range(INCARNATION_KEY), *beside(group, cell))
    return Txn(asked.conditions, (*asked.then, *after), (*asked.orelse, *after))


def stood(lease: LeaseId, group: str, result: Result) -> tuple[Member, Claimed | None]:
    """Nobody else there: first. Else only a claim tells. Raises SessionGone."""
    member = joined(lease, group, result)
    _, found, incarnation, *cell = result.results
    if len(found.kvs) > 1 or _raised_since(incarnation, member.revision):
        return member, None
    return member, _first(member, incarnation, cell)


def beside(group: str, cell: str | None) -> tuple[Range, ...]:
    """The cell that is asked for with a claim."""
    return () if cell is None else (Range(cell_key(group, cell)),)


def _first(member: Member, incarnation: OperationResult, cell: Sequence[OperationResult]) -> Claimed:
    token = make_token(_incarnation(incarnation), member.revision)
    return Claimed(member, token, as_cell(cell[0]) if cell else None)


def is_first(member: Member) -> tuple[Condition, ...]:
    """What a claim and every guarded write compare: this very member is there, nobody is in front of it, and the
    incarnation was not raised since it joined."""
    key, end = members_range(member.group)
    return (
        Condition(member_key(member.group, member.id), Compare.CREATE, Is.EQUAL, member.revision),
        Condition(key, Compare.CREATE, Is.GREATER, member.revision - 1, end),
        Condition(INCARNATION_KEY, Compare.MOD, Is.LESS, member.revision),
    )


def look(group: str) -> tuple[Range, Range]:
    """What tells who is first."""
    return Range(*members_range(group)), Range(INCARNATION_KEY)


def was_first(member: Member, found: OperationResult, incarnation: OperationResult) -> bool:
    """`is_first`, computed from what `look` found."""
    queue = _in_order(found)
    return (
        bool(queue)
        and queue[0].key == member_key(member.group, member.id)
        and queue[0].create_revision == member.revision
        and not _raised_since(incarnation, member.revision)
    )


def update(lease: LeaseId, member: Member, value: bytes) -> Txn:
    """The key stays attached to its lease, and keeps its create revision: the place."""
    key = member_key(member.group, member.id)
    return Txn(conditions=(_is_there(key, member.revision),), then=(Put(key, value, lease),))


def updated(member: Member, result: Result) -> None:
    """Raises MemberGone."""
    if result.code is Code.LEASE_NOT_FOUND or not result.succeeded:
        raise member_gone(member)


def remove(group: str, member: str, revision: int) -> Txn:
    """Compares the create revision, so that a late one never removes a re-join."""
    key = member_key(group, member)
    return Txn(conditions=(_is_there(key, revision),), then=(DeleteRange(key),))


def roster(group: str) -> Txn:
    return Txn(then=look(group))


def as_roster(group: str, result: Result) -> Roster:
    found, incarnation = result.results
    queue = _in_order(found)
    token = None
    if queue and not _raised_since(incarnation, queue[0].create_revision):
        token = make_token(_incarnation(incarnation), queue[0].create_revision)
    entries = tuple(Entry(_id(group, kv), kv.create_revision, kv.value, ours=True) for kv in queue)
    return Roster(result.revision, entries, token)


def member_gone(member: Member) -> MemberGone:
    return MemberGone(f"member {member.id} has left, was removed, or its session ended")


def _is_there(key: bytes, revision: int) -> Condition:
    return Condition(key, Compare.CREATE, Is.EQUAL, revision)


def _in_order(found: OperationResult) -> list[KeyValue]:
    return sorted(found.kvs, key=lambda kv: kv.create_revision)


def _id(group: str, kv: KeyValue) -> str:
    member = kv.key.removeprefix(members_range(group).key).decode()
    invariant(lease_of(member) is not None, "members are named by their leases", member=member)
    return member


def _incarnation(found: OperationResult) -> int:
    return decode_incarnation(found.kvs[0].value) if found.kvs else 0


def _raised_since(found: OperationResult, revision: int) -> bool:
    return bool(found.kvs) and found.kvs[0].mod_revision > revision
