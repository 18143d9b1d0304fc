"""Who queues, who is first, and the proof of it.

**First is stable.** ZooKeeper numbers the nodes of a queue by a counter of their parent that only rises while the parent lives,
and the parent lives for as long as my node does. A server's state that holds my node holds every creation before mine: states
are prefixes of one history. So if a listing shows my node and none with a lower number, then no lower one is there and none will
ever come: whoever sees itself first is first for as long as its node lives.

So a claim is: a transaction that checks my node, which a quorum must commit; behind it, on the same connection, the list. That
the node lives is proven at the list's moment, which is not before the claim was asked for. And a guarded write needs no list
once first was seen: "my node is there" in its own transaction says that I am first at that moment. A queue whose list can lie,
by candidates of another layout or a counter near its end, is refused.
"""

from __future__ import annotations

from typing import Any, Final

from incumbent.engines.api import Claimed, Entry, Member, Roster, Waiting
from incumbent.engines.zookeeper import layout
from incumbent.engines.zookeeper.layout import Seat
from incumbent.engines.zookeeper.service import (
    Incarnation,
    NoNode,
    Service,
    children,
    commit,
    exists,
    failure,
    get,
    unexpected,
)
from incumbent.engines.zookeeper.watches import Mark, Turn
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    MemberGone,
    NotFirst,
    OutcomeUnknown,
    Unsupported,
)
from incumbent.ids import TOKEN_NATIVE_MAX, make_token

READS_MAX: Final = 256
"""Nodes read at once."""
RELISTS_MAX: Final = 16
"""How often a group is listed again because a member left between the list and the reading of it."""


def decide(service: Service, member: Member, incarnation: Any, listed: Any) -> Claimed | Waiting:
    """From what was read behind a write that a quorum committed while the member lived. Raises MemberGone, IncarnationChanged."""
    current = service.incarnation(incarnation)
    _check_joined_since(member, current)
    queue = seats(service, listed)
    at = next((at for at, seat in enumerate(queue) if seat.name == member.id), None)
    if at is None:
        raise gone(member)
    if at == 0:
        return Claimed(member, _token(current, member.revision))
    tree, behind = service.tree, queue[at - 1].name
    return Waiting(
        behind, Turn((tree.member(member.group, behind), tree.member(member.group, member.id))), None
    )


async def check_first(service: Service, claimed: Claimed, deadline_s: float) -> int:
    """That this claim's member was first once, which is first as long as its node lives, and that the claim is of this
    incarnation; returns what a transaction compares of that. Raises NotFirst."""
    member, tree = claimed.member, service.tree
    refused = NotFirst(
        f"member {member.id} is not the first of its group, or claimed under another incarnation"
    )
    # The first server may be behind: enough to admit, not to refuse.
    for look in (service.read, service.fresh):
        incarnation, stat, listed = await look(
            get(tree.incarnation),
            exists(tree.member(member.group, member.id)),
            children(tree.group(member.group)),
            deadline_s=deadline_s,
        )
        queue = seats(service, listed)
        if not _is(member, stat) or not queue or queue[0].name != member.id:
            continue
        try:
            current = service.incarnation(incarnation)
        except IncarnationChanged as error:
            refused = NotFirst(str(error))
            continue
        if claimed.token == _token(current, member.revision):
            return current.counter
    raise refused


async def roster(service: Service, group: str) -> Roster:
    """Raises EngineUnavailable."""
    tree, deadline_s = service.tree, service.deadline_s()
    for _ in range(RELISTS_MAX):
        bell, incarnation, listed = await service.fresh(
            exists(tree.bell(group)),
            get(tree.incarnation),
            children(tree.group(group)),
            deadline_s=deadline_s,
        )
        queue = seats(service, listed)
        mark = Mark.of(listed, bell)
        nodes = list[Any]()
        for at in range(0, len(queue), READS_MAX):
            part = (get(tree.member(group, seat.name)) for seat in queue[at : at + READS_MAX])
            nodes += await service.read(*part, deadline_s=deadline_s)
        if any(isinstance(node, NoNode) for node in nodes):
            continue  # it has left since: the list is no longer anybody's present
        entries = tuple(_entry(seat, node) for seat, node in zip(queue, nodes, strict=True))
        return Roster(mark, entries, _token_of_first(service, incarnation, entries))
    raise EngineUnavailable("the group changes faster than it can be read")


async def update(service: Service, member: Member, value: bytes) -> None:
    """The node stays its session's, and keeps its place. The bell tells those who watch the group, since ZooKeeper tells them
    only who came and went. Raises MemberGone, EngineUnavailable, OutcomeUnknown."""
    tree, deadline_s = service.tree, service.deadline_s()
    mine, bell = tree.member(member.group, member.id), tree.bell(member.group)
    while True:
        (result,) = await service.write(
            commit(("set_data", mine, value), ("set_data", bell, b"")), deadline_s=deadline_s
        )
        failed = failure(result)
        if failed is None:
            return
        at, why = failed
        if not isinstance(why, NoNode):
            raise unexpected(why)
        if at == 0:
            raise gone(member)
        await service.make(bell, deadline_s=deadline_s)


async def remove(service: Service, member: Member) -> bool:
    """False: no such member. Raises EngineUnavailable, OutcomeUnknown."""
    path, deadline_s = service.tree.member(member.group, member.id), service.deadline_s()
    unknown: OutcomeUnknown | None = None
    while True:
        (stat,) = await service.fresh(exists(path), deadline_s=deadline_s)
        if not _is(member, stat):
            return unknown is not None and stat is None
        try:
            (result,) = await service.write(commit(("delete", path)), deadline_s=deadline_s)
        except OutcomeUnknown as error:
            if service.now_s() >= deadline_s:
                raise
            unknown = error
            continue
        failed = failure(result)
        if failed is None:
            return True
        if not isinstance(failed[1], NoNode):
            raise unexpected(failed[1])
        return unknown is not None


def gone(member: Member) -> MemberGone:
    return MemberGone(f"member {member.id} has left, was removed, or its session ended")


def _is(member: Member, stat: Any) -> bool:
    """The very node, made when the member joined, by the session that its name says (P47)."""
    if stat is None or isinstance(stat, Exception):
        return False
    return bool(stat.czxid == member.revision)


def _check_joined_since(member: Member, current: Incarnation) -> None:
    if current.raised_at > member.revision:
        raise IncarnationChanged(f"member {member.id} joined before the incarnation was raised: join again")


def seats(service: Service, listed: Any) -> list[Seat]:
    """Raises Unsupported, as `layout.queue`."""
    if isinstance(listed, NoNode):
        return []
    if isinstance(listed, Exception):
        raise unexpected(listed)
    return layout.queue(service.place.layout, listed[0])


def _entry(seat: Seat, node: Any) -> Entry:
    if isinstance(node, Exception):
        raise unexpected(node)
    data, stat = node
    ours = seat.session is not None and seat.session == stat.ephemeralOwner & ((1 << 64) - 1)
    return Entry(seat.name, stat.czxid, data, ours=ours)


def _token_of_first(service: Service, incarnation: Any, entries: tuple[Entry, ...]) -> int | None:
    """None also while nobody is to lead: the history went back, or the first joined before the incarnation was raised."""
    try:
        current = service.incarnation(incarnation)
    except IncarnationChanged:
        return None
    if not entries or current.raised_at > entries[0].order:
        return None
    return _token(current, entries[0].order)


def _token(current: Incarnation, revision: int) -> int:
    if not 0 < revision <= TOKEN_NATIVE_MAX:
        raise Unsupported(
            f"ZooKeeper's epoch has come to {revision >> 32}, and a token holds 24 bits of it: move to a new ensemble and "
            f"raise its incarnation"
        )
    return make_token(current.number, revision)
