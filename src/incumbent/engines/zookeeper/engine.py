"""The engine on ZooKeeper: the door, and which part does what.

What belongs to a session is done by visits in its name (`sessions`); everything else goes over one line, kazoo's client
(`members`, `cell_steps`, `watches`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random

from incumbent.engines.api import (
    Cell,
    CellWrite,
    Claimed,
    Guarantees,
    Member,
    Ref,
    Roster,
    Session,
    Waiting,
)
from incumbent.engines.inputs import (
    check_beside,
    check_cell_writes,
    check_member_value,
    check_name,
    check_release_delay,
    check_request_id,
    check_ttl,
)
from incumbent.engines.trips import claim_joined
from incumbent.engines.zookeeper import cell_steps, layout, members
from incumbent.engines.zookeeper.cell_steps import CellStep
from incumbent.engines.zookeeper.cells import WRITER_BYTES
from incumbent.engines.zookeeper.guarantees import GUARANTEES
from incumbent.engines.zookeeper.layout import Tree
from incumbent.engines.zookeeper.line import Line
from incumbent.engines.zookeeper.place import Place
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.service import Service
from incumbent.engines.zookeeper.sessions import Sessions
from incumbent.engines.zookeeper.standing import Standing
from incumbent.engines.zookeeper.watches import Mark, Turn, watch_group, watch_turn
from incumbent.errors import InvalidInput, NotFirst


class ZooKeeperEngine:
    """Bound to the event loop and the process that made it. One connection, and one more for each session."""

    def __init__(self, place: Place) -> None:
        self.service = Service(place, Tree(place.root), Line(place))
        self._sessions = Sessions(self.service)
        self._standing = Standing(self.service, self._sessions)

    @classmethod
    async def open(cls, place: Place) -> ZooKeeperEngine:
        """Raises EngineUnavailable, NotAllowed."""
        hosts = list(place.hosts)
        Random(os.urandom(16)).shuffle(hosts)  # many processes do not all stand at the first
        engine = cls(replace(place, hosts=tuple(hosts)))
        try:
            await engine.service.found()
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES

    # --- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        check_ttl(ttl)
        check_release_delay(release_delay)
        return await self._sessions.open(ttl, check_request_id(request_id), release_delay)

    async def renew(self, session: Session) -> None:
        self.service.check_open()
        await self._sessions.renew(self._reference(session.ref))

    async def end_session(self, ref: Ref) -> bool:
        """When an attempt's answer was lost and the next finds the session over, it was ours that ended it, for all
        that anybody can tell."""
        self.service.check_process()
        return await self._sessions.end(self._reference(ref))

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        self.service.check_open()
        reference = self._reference(session.ref)
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        member, _ = await self._standing.stand(reference, group, request_id, value, None)
        return member

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        self._check_member(member)
        check_beside(cell)
        self.service.check_open()
        return await self._standing.claim(member, cell)

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        self.service.check_open()
        reference = self._reference(session.ref)
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        check_beside(cell)
        member, answer = await self._standing.stand(reference, group, request_id, value, cell)
        return (member, answer) if answer is not None else await claim_joined(self, member, cell)

    async def update(self, member: Member, value: bytes) -> None:
        self._check_member(member)
        check_member_value(value)
        await members.update(self.service, member, value)

    async def leave(self, member: Member) -> None:
        self.service.check_open()
        check_name("group", member.group)
        if not await self._standing.leave(member):
            await self.remove(member.group, member.id, member.revision)

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """As `end_session`: gone after a lost answer counts as removed by it. A foreign candidate can be removed too."""
        check_name("group", group)
        if layout.read_member(self.service.place.layout, id) is None or "/" in id or revision <= 0:
            return False
        return await members.remove(self.service, Member(group, id, revision))

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        return await members.roster(self.service, group)

    def watch(self, group: str, after: object) -> AsyncIterator[None]:
        check_name("group", group)
        self.service.check_process()
        match after:
            case Turn():
                return watch_turn(self.service, after)
            case Mark():
                return watch_group(self.service, group, after)
            case _:
                raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        return await cell_steps.read_cell(self.service, group, name)

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        """Raises OutcomeUnknown when the answer was lost and the cells were overwritten more than once since."""
        check_name("group", group)
        check_cell_writes(writes, GUARANTEES.cell_bytes_max)
        if claimed is not None and claimed.member.group != group:
            raise InvalidInput("claimed", "is of another group", "pass the claim of the cells' own group")
        if claimed is not None and layout.read_member(self.service.place.layout, claimed.member.id) is None:
            raise NotFirst(f"{claimed.member.id[:40]!r} is no member of this engine's")
        if not writes:
            return ()
        return await CellStep(self.service, group, writes, claimed, secrets.token_bytes(WRITER_BYTES)).do()

    async def close(self) -> None:
        if self.service.closed or os.getpid() != self.service.pid:
            return  # closed already; or a forked child, where all of it is the parent's
        self.service.closed = True
        await self._standing.close()
        await self._sessions.close()
        await self.service.line.close()

    def _reference(self, ref: Ref) -> Reference:
        reference = Reference.from_bytes(ref)
        if reference.root != self.service.place.root:
            raise InvalidInput(
                "ref", f"belongs below {reference.root!r}", f"this engine is at {self.service.place.root!r}"
            )
        return reference

    def _check_member(self, member: Member) -> None:
        check_name("group", member.group)
        seat = layout.read_member(self.service.place.layout, member.id)
        if seat is None or seat.session is None or "/" in member.id:
            raise members.gone(member)
