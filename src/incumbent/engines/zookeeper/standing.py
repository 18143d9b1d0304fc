"""Joining, claiming and leaving, in a session's name, and over its connection: what the reads behind a write of ours show there is at
least as new as that write, which a quorum committed while the session lived.

So who joins knows at once whether it is first, and a claim is one trip: docs/explanation/zookeeper.md says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from incumbent.engines.api import Claimed, Member, Waiting
from incumbent.engines.zookeeper import cell_steps, layout, members, wire
from incumbent.engines.zookeeper.attendant import Attendant
from incumbent.engines.zookeeper.layout import check_sequence
from incumbent.engines.zookeeper.place import Layout
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.service import NoNode, Service, as_read, children, exists, unexpected
from incumbent.engines.zookeeper.sessions import Sessions
from incumbent.errors import (
    EngineUnavailable,
    IncumbentError,
    NotAllowed,
    OutcomeUnknown,
    Overloaded,
    SessionGone,
    Unsupported,
    invariant,
)
from incumbent.ids import TOKEN_NATIVE_MAX

Stood: TypeAlias = tuple[Member, Claimed | Waiting | None]
"""None: only a claim can tell whether it is first."""


class Standing:
    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._service = service
        self._sessions = sessions
        self._joins: dict[tuple[int, str], asyncio.Task[Stood]] = {}

    async def stand(
        self, reference: Reference, group: str, request_id: str, value: bytes, cell: str | None
    ) -> Stood:
        """One at a time for a session and group, and to its end also when the caller is cancelled: what was asked for may be
        done, and the next one must find it. Where it is refused, no member is left behind.

        Raises SessionGone, EngineUnavailable, OutcomeUnknown, NotAllowed, Unsupported.
        """
        key = (reference.session, group)
        while (former := self._joins.get(key)) is not None:
            await asyncio.wait([former])
            if self._joins.get(key) is former:
                del self._joins[key]
        joining = _Joining(self._service, self._sessions, reference, group, request_id, value, cell)
        task = asyncio.create_task(joining.do())
        self._joins[key] = task
        task.add_done_callback(lambda _: self._joined(key, task))
        return await asyncio.shield(task)

    def _joined(self, key: tuple[int, str], task: asyncio.Task[Stood]) -> None:
        if self._joins.get(key) is task:
            del self._joins[key]
        if not task.cancelled():
            task.exception()  # whoever was cancelled does not ask for it

    async def claim(self, member: Member, cell: str | None) -> Claimed | Waiting:
        """Raises MemberGone, IncarnationChanged, EngineUnavailable."""
        service, attendant = self._service, self._attendant_of(member)
        if attendant is None:
            raise members.gone(member)
        mine, asked_after = service.tree.member(member.group, member.id), service.history.newest
        look = _look(service, member.group, cell)
        try:
            check, node, *seen = await self._answered(attendant, wire.check(mine), wire.exists(mine), *look)
        except SessionGone as error:
            raise members.gone(member) from error
        service.history.committed(asked_after, check.zxid)
        # The leader's word and this server's: they are one if all is well with the servers.
        is_there = check.error == node.error == wire.OK
        if not is_there or node.stat is None or node.stat.czxid != member.revision:
            raise members.gone(member)
        answer = _decide(service, member, seen)
        if cell is None or isinstance(answer, Waiting) or answer.cell is not None:
            return answer
        return replace(answer, cell=await cell_steps.read_cell(service, member.group, cell))

    async def _answered(self, attendant: Attendant, *requests: wire.Request) -> list[wire.Answer]:
        """Of what may be asked twice: a server may hang up instead of saying that the session has ended."""
        deadline_s = self._service.deadline_s()
        while True:
            try:
                return await attendant.do(*requests)
            except OutcomeUnknown as error:
                if self._service.now_s() >= deadline_s:
                    raise EngineUnavailable(f"ZooKeeper was lost before the answer: {error}") from error

    async def leave(self, member: Member) -> bool:
        """True: it is gone. False: nothing is known, so it takes a look. Raises EngineUnavailable, NotAllowed.

        Only for a member that this process made itself, and so without looking first: another node of that name could only
        be made by its own session, here, which would be known.
        """
        attendant = self._attendant_of(member)
        if attendant is None or attendant.members.get(member.group) != member:
            return False
        service, asked_after = self._service, self._service.history.newest
        try:
            (deleted,) = await attendant.do(wire.delete(service.tree.member(member.group, member.id)))
        except (SessionGone, OutcomeUnknown):
            return False
        service.history.committed(asked_after, deleted.zxid)
        if attendant.members.get(member.group) == member:
            del attendant.members[member.group]
        return True

    async def close(self) -> None:
        for task in list(self._joins.values()):
            task.cancel()
        await asyncio.gather(*self._joins.values(), return_exceptions=True)

    def _attendant_of(self, member: Member) -> Attendant | None:
        seat = layout.read_member(self._service.place.layout, member.id)
        return None if seat is None or seat.session is None else self._sessions.attending(seat.session)


@dataclass(frozen=True, slots=True)
class _Joining:
    service: Service
    sessions: Sessions
    reference: Reference
    group: str
    request_id: str
    value: bytes
    cell: str | None

    async def do(self) -> Stood:
        attendant = self.sessions.attend(self.reference)
        deadline_s = self.service.deadline_s()
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                if self.group in attendant.members:
                    found = await self._find(attendant, deadline_s)
                    if found is not None:
                        return found, None
                stood = await self._create(attendant, deadline_s)
            except SessionGone:
                await self.sessions.forget(self.reference.session)
                raise
            except OutcomeUnknown as error:
                if self.service.now_s() >= deadline_s:
                    raise
                unknown = error
            except (EngineUnavailable, Overloaded) as error:
                if unknown is not None:
                    raise unknown from error
                raise
            else:
                if stood is not None:
                    return stood

    async def _create(self, attendant: Attendant, deadline_s: float) -> Stood | None:
        """None: not done, and to be tried again."""
        service, group = self.service, self.group
        place = service.place
        prefix = layout.member_prefix(place.layout, self.reference.session, self.request_id)
        create = wire.create(
            service.tree.member(group, prefix), self.value, sequential=True, owned=place.login is not None
        )
        asked_after = service.history.newest
        attendant.members[group] = None
        made, *seen = await attendant.do(create, *_look(service, group, self.cell))
        if made.error != wire.OK:
            del attendant.members[group]
            await service.make(service.tree.group(group), deadline_s=deadline_s)
            return None
        service.history.committed(asked_after, made.zxid)
        try:
            return await self._admit(attendant, made, seen, deadline_s)
        except (EngineUnavailable, Overloaded) as error:
            raise OutcomeUnknown("joined, and then ZooKeeper was lost") from error

    async def _admit(
        self, attendant: Attendant, made: wire.Answer, seen: Sequence[wire.Answer], deadline_s: float
    ) -> Stood | None:
        service, group = self.service, self.group
        invariant(made.stat is not None, "who creates a node is told of it", path=made.held)
        assert made.stat is not None
        member = Member(group, made.held.rpartition("/")[2], made.stat.czxid)
        _, listed, *_ = seen
        try:
            _check_number(service.place.layout, member)
            seats = members.seats(service, as_read(listed))
        except (Unsupported, NotAllowed):
            await self._take_back(attendant, member)
            raise
        attendant.members[group] = member
        if any(seat.session == self.reference.session and seat.name != member.id for seat in seats):
            found = await self._find(attendant, deadline_s)
            return None if found is None else (found, None)
        try:
            answer = _decide(service, member, seen)
        except IncumbentError:
            return member, None  # the claim says the same, and what becomes of the member
        whole = self.cell is None or isinstance(answer, Waiting) or answer.cell is not None
        return member, answer if whole else None

    async def _find(self, attendant: Attendant, deadline_s: float) -> Member | None:
        """The member that the session has there. A name alone is no proof: the node's owner is (P47). A second one, as two who
        share a session can make, goes again; and the first, too, where candidates of another layout stand. Raises Unsupported."""
        service, session = self.service, self.reference.session
        if attendant.unsettled:
            await self.sessions.renew(self.reference)
        group = service.tree.group(self.group)
        (listed,) = await service.fresh(children(group), deadline_s=deadline_s)
        if isinstance(listed, NoNode):
            return None
        if isinstance(listed, Exception):
            raise unexpected(listed)
        named = (layout.read_member(service.place.layout, name) for name in listed[0])
        found = list[Member]()
        for seat in sorted(filter(None, named), key=lambda seat: seat.sequence):
            if seat.session != session:
                continue
            (stat,) = await service.read(exists(f"{group}/{seat.name}"), deadline_s=deadline_s)
            if stat is not None and stat.ephemeralOwner & ((1 << 64) - 1) == session:
                found.append(Member(self.group, seat.name, stat.czxid))
        for second in found[1:]:
            await self._take_back(attendant, second)
        try:
            members.seats(service, listed)
        except Unsupported:
            for first in found[:1]:
                await self._take_back(attendant, first)
            raise
        attendant.members[self.group] = found[0] if found else None
        return found[0] if found else None

    async def _take_back(self, attendant: Attendant, member: Member) -> None:
        """Raises OutcomeUnknown."""
        try:
            await attendant.do(wire.delete(self.service.tree.member(self.group, member.id)))
        except (EngineUnavailable, Overloaded) as error:
            raise OutcomeUnknown("joined, and then ZooKeeper was lost") from error


def _look(service: Service, group: str, cell: str | None) -> list[wire.Request]:
    """What tells who is first, to be asked for behind a write."""
    tree = service.tree
    beside = [] if cell is None else [wire.get(tree.cell(group, cell))]
    return [wire.get(tree.incarnation), wire.children(tree.group(group)), *beside]


def _decide(service: Service, member: Member, seen: Sequence[wire.Answer]) -> Claimed | Waiting:
    """From what `_look` asked for. The cell stays out when it lies apart. Raises MemberGone, IncarnationChanged."""
    incarnation, listed, *beside = map(as_read, seen)
    answer = members.decide(service, member, incarnation, listed)
    if not beside or not isinstance(answer, Claimed):
        return answer
    return replace(answer, cell=cell_steps.inline(beside[0]))


def _check_number(named: Layout, member: Member) -> None:
    """Raises Unsupported for one that nobody may lead with."""
    seat = layout.read_member(named, member.id)
    invariant(seat is not None, "ZooKeeper numbers what it was told to", name=member.id)
    assert seat is not None
    check_sequence(seat.sequence)
    if member.revision > TOKEN_NATIVE_MAX:
        raise Unsupported(f"ZooKeeper's epoch has come to {member.revision >> 32}: no token can hold it")
