"""The engine on Kubernetes Leases. What a Lease looks like is in `leases`, who is first in `claims`, how things end in `ending`,
cells in `cells`."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

from incumbent.engines.api import (
    Cell,
    CellWrite,
    Claimed,
    Entry,
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
from incumbent.engines.kubernetes import ending
from incumbent.engines.kubernetes.access import Place, open_access
from incumbent.engines.kubernetes.calls import Calls
from incumbent.engines.kubernetes.cell_store import CellStore, Step, Undecidable
from incumbent.engines.kubernetes.claims import Claims, member_gone
from incumbent.engines.kubernetes.client import Conflict, Exists, Leases, NotThere, Server
from incumbent.engines.kubernetes.ending import Leaving
from incumbent.engines.kubernetes.group_reader import GroupReader
from incumbent.engines.kubernetes.guarantees import GUARANTEES
from incumbent.engines.kubernetes.informer import Informer
from incumbent.engines.kubernetes.joining import Joining
from incumbent.engines.kubernetes.leases import (
    JOINED,
    NS,
    OF,
    VALUE,
    Lease,
    changed,
    duration_ns,
    election_name,
    encode_value,
    hashed,
    holder_of,
    identity,
    is_ending,
    joined_of,
    labels,
    name_of,
    new_session,
    renewed,
    session_name,
    session_of_member,
    session_uid_of,
    spec,
    token_of,
    uid_of,
    value_of,
    version_of,
)
from incumbent.engines.kubernetes.observed import Observed
from incumbent.engines.kubernetes.reference import Reference
from incumbent.engines.kubernetes.snapshot import Snapshot
from incumbent.engines.kubernetes.turn import Turn
from incumbent.errors import (
    InvalidInput,
    NotAllowed,
    NotFirst,
    OutcomeUnknown,
    SessionGone,
    Unsupported,
)
from incumbent.ports import Clock
from incumbent.runtime.clock import BoottimeClock

CALL_TIMEOUT_S: Final = 5.0
"""How long one call may take, with all its attempts."""


class KubernetesEngine:
    """Bound to the event loop and the process that made it. What a session holds is renewed by the engine that claimed it."""

    def __init__(
        self,
        server: Server,
        place: Place,
        *,
        call_timeout_s: float = CALL_TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._place = place
        self._calls = Calls(server, call_timeout_s)
        self._observed = Observed(clock or BoottimeClock())
        self._informer = Informer(server, self._observed)
        self._cells = CellStore()
        self._claims = Claims(GroupReader(self._observed, self._informer), self._cells, self._observed)
        self._sessions: dict[str, Lease] = {}  # as this engine wrote them last
        self._members: dict[str, Lease] = {}  # that it made, as it made them

    @classmethod
    async def open(cls, place: Place, *, call_timeout_s: float = CALL_TIMEOUT_S) -> KubernetesEngine:
        """Raises InvalidInput, EngineUnavailable, NotAllowed."""
        engine = cls(Server(open_access(place)), place, call_timeout_s=call_timeout_s)
        try:
            await engine._informer.start()
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
        name = session_name(check_request_id(request_id))
        duration = math.ceil((ttl + release_delay) * NS)

        async def act(leases: Leases) -> Lease:
            try:
                return await leases.create(new_session(name, duration))
            except Exists:
                found = await self._live_session(leases, name, None)
            if duration_ns(found) != duration:
                raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
            return await leases.update(renewed(found))

        try:
            lease = await self._calls.finish(act)
        except SessionGone:  # what an earlier attempt opened is over; this is a new one
            lease = await self._calls.finish(act)
        self._remember(lease)
        return Session(Reference(self._place, name, uid_of(lease)).to_bytes(), ttl)

    async def renew(self, session: Session) -> None:
        """One write for the session, and one for each election that it holds: client-go's candidates look at nothing else."""
        reference = Reference.from_bytes(session.ref)

        async def act(leases: Leases) -> None:
            held = self._claims.held.get(reference.name, {})
            await asyncio.gather(
                self._renew_session(leases, reference),
                *(self._renew_election(leases, reference.name, lease) for lease in tuple(held.values())),
            )

        # Not to its end when it is given up: the next renewal makes up for it.
        await self._calls.ask(act)

    async def _renew_session(self, leases: Leases, reference: Reference) -> None:
        lease = self._sessions.get(reference.name)
        if lease is None or uid_of(lease) != reference.uid or self._observed.is_over(lease):
            lease = await self._live_session(leases, reference.name, reference.uid)
        try:
            self._remember(await leases.update(renewed(lease)))
        except NotThere:
            self._forget(reference.name)
            raise SessionGone("the session has ended") from None
        except Conflict:
            # Ours whose answer was lost, an operator's, or the end of it: read what it is now.
            self._sessions.pop(reference.name, None)
            raise

    async def _renew_election(self, leases: Leases, session: str, known: Lease) -> None:
        """One that was lost is not renewed; the next claim finds that out, and this session goes on."""
        lease: Lease | None = known
        holder = holder_of(known)
        held = self._claims.held.get(session, {})
        while lease is not None and holder_of(lease) == holder:
            try:
                held[name_of(lease)] = await leases.update(renewed(lease))
            except Conflict:
                lease = await leases.find(name_of(lease))
            except NotThere:
                break
            else:
                return
        held.pop(name_of(known), None)

    async def end_session(self, ref: Ref) -> bool:
        """True also when an attempt's answer was lost and the next one finds it over."""
        reference = Reference.from_bytes(ref)
        unanswered = False

        async def act(leases: Leases) -> bool:
            nonlocal unanswered
            try:
                ended = await ending.end_session(leases, reference.name, reference.uid)
            except OutcomeUnknown:
                unanswered = True
                raise
            return ended or unanswered

        ended = await self._calls.finish(act)
        self._forget(reference.name)
        return ended

    async def _live_session(self, leases: Leases, name: str, uid: str | None) -> Lease:
        """The session as it is now; one that is over is ended first. Raises SessionGone."""
        lease = await leases.find(name)
        if lease is not None and uid in (None, uid_of(lease)):
            if not self._observed.is_over(lease):
                return lease
            lease = await ending.mark(leases, lease)
            await ending.finish_session(leases, lease)
        self._forget(name)
        raise SessionGone("the session has ended")

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        joining = _joining(session, group, request_id, value)

        async def act(leases: Leases) -> Member:
            await joining.create(leases)
            await self._check_joined(leases, joining, session)
            await joining.write_down(leases)
            self._members[joining.name] = joining.made
            return joining.member

        return await self._calls.finish(act, one_at_a_time=joining.name)

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        """Two writes where nobody else is there: the member's Lease, and the election's. When the first one's event has come by,
        the informer has seen its session and whoever joined before."""
        joining = _joining(session, group, request_id, value)
        check_beside(cell)

        async def act(leases: Leases) -> tuple[Member, Claimed | Waiting]:
            is_new = await joining.create(leases)
            member = joining.member
            try:
                answer: Claimed | Waiting | None = None
                if is_new:
                    answer = await self._claims.at_once(leases, member, cell)
                if answer is None:
                    await self._check_joined(leases, joining, session)
                    answer = await self._claims.by_lists(leases, member, cell)
            except (NotAllowed, Unsupported):
                await leases.delete(joining.made)  # nobody else knows of it; what it may hold is free by that
                raise
            self._members[member.id] = joining.made
            return member, answer

        return await self._calls.finish(act, one_at_a_time=joining.name)

    async def _check_joined(self, leases: Leases, joining: Joining, session: Session) -> None:
        reference = Reference.from_bytes(session.ref)
        try:
            await self._live_session(leases, reference.name, reference.uid)
        except SessionGone:
            await leases.delete(joining.made)
            raise

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        session_of_member_or_gone(member)
        check_beside(cell)
        return await self._calls.finish(lambda leases: self._claims.claim(leases, member, cell))

    async def update(self, member: Member, value: bytes) -> None:
        session = session_of_member_or_gone(member)
        check_member_value(value)

        async def act(leases: Leases) -> None:
            lease = await leases.find(member.id)
            if lease is None or joined_of(lease) != member.revision or is_ending(lease):
                raise member_gone(member)
            try:
                await self._live_session(leases, session, session_uid_of(lease))
                marks = {VALUE: encode_value(value), JOINED: str(member.revision)}
                await leases.update(changed(lease, annotations=marks))
            except (SessionGone, NotThere):
                raise member_gone(member) from None

        await self._calls.finish(act, one_at_a_time=member.id)

    async def leave(self, member: Member) -> None:
        """Two writes where this engine made the member and it holds the election: the election's Lease says who has left by letting
        go of it, and the member's is deleted."""
        session = session_of_member(member.group, member.id)
        if session is None:
            return

        async def act(leases: Leases) -> bool:
            return await self._leave_at_once(leases, member, session) or await leaving.act(leases)

        leaving = Leaving(member.id, member.revision)
        await self._calls.finish(act, one_at_a_time=member.id)
        self._has_left(member.group, member.id, session)

    async def _leave_at_once(self, leases: Leases, member: Member, session: str) -> bool:
        made, name = self._members.get(member.id), election_name(member.group)
        known = (self._claims.held.get(session, {}).get(name), self._informer.lease(name))
        mine = identity(member.id, member.revision)
        held = [lease for lease in known if lease is not None and holder_of(lease) == mine]
        if made is None or joined_of(made) != member.revision or not held:
            return False
        if not await ending.release(
            leases, max(held, key=version_of), lambda holder: holder == mine, left=mine
        ):
            return False
        await leases.delete(made)
        return True

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """As `end_session`: gone after a lost answer counts as removed by it. A foreign candidate cannot be removed: False."""
        check_name("group", group)
        session = session_of_member(group, id)
        if session is None:
            return False
        removed = await self._calls.finish(Leaving(id, revision).act, one_at_a_time=id)
        self._has_left(group, id, session)
        return removed

    def _has_left(self, group: str, id: str, session: str) -> None:  # noqa: A002
        self._members.pop(id, None)
        self._claims.held.get(session, {}).pop(election_name(group), None)

    async def roster(self, group: str) -> Roster:
        check_name("group", group)

        async def act(leases: Leases) -> Roster:
            snapshot = await self._claims.groups.settled(leases, group)
            election = snapshot.election or await leases.find(election_name(group))
            return self._as_roster(snapshot, election)

        return await self._calls.ask(act)

    def _as_roster(self, snapshot: Snapshot, election: Lease | None) -> Roster:
        entries = [Entry(m.name, m.revision, value_of(m.lease), ours=True) for m in snapshot.members]
        token = None
        if election is not None:
            first = snapshot.members[0] if snapshot.members else None
            if (
                first is not None
                and holder_of(election) == first.identity
                and snapshot.raised_at <= first.revision
            ):
                token = token_of(election)
            holder = spec(election, "holderIdentity")
            if holder and not holder_of(election) and self._observed.left_ns(election) > 0:
                # It joined no queue: it stands in front of all who did.
                entries.insert(0, Entry(holder, 0, holder.encode(), ours=False))
                token = None
        return Roster(snapshot.revision, tuple(entries), token)

    def watch(self, group: str, after: object) -> AsyncIterator[None]:
        check_name("group", group)
        self._calls.check()
        match after:
            case Turn(revision, keys):
                return self._informer.watch(keys, revision)
            case int():
                return self._informer.watch((hashed(group), election_name(group)), after)
            case _:
                raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        return await self._calls.ask(lambda leases: self._cells.read(leases, group, name))

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        """Raises OutcomeUnknown when the answer was lost, and all of the cells were written over since or the session ended."""
        check_name("group", group)
        check_cell_writes(writes, GUARANTEES.cell_bytes_max)
        if claimed is not None and claimed.member.group != group:
            raise InvalidInput("claimed", "is of another group", "pass the claim of the cells' own group")
        step = Step(group, writes, secrets.token_hex(8), claimed)

        async def act(leases: Leases) -> tuple[Cell, ...]:
            try:
                if claimed is not None:
                    await self._check_alive(leases, claimed.member)
            except NotFirst as error:
                if step.based_on is None:
                    raise
                # An earlier attempt may still be under way, with the guard of then.
                raise Undecidable("the answer was lost, and the member's session has ended since") from error
            return await self._cells.write(leases, step)

        cells = await self._calls.finish(act)
        if step.garbage:
            self._calls.spawn(lambda: self._cells.sweep(self._calls.leases(), step))
        return cells

    async def _check_alive(self, leases: Leases, member: Member) -> None:
        """A session that is silent for too long is ended here, so that its guard does not pass."""
        session = session_of_member(member.group, member.id)
        if session is None:
            raise NotFirst(f"{member.id[:80]!r} is no member of this engine's")
        try:
            await self._live_session(leases, session, None)
        except SessionGone:
            raise NotFirst("the member's session has ended") from None

    async def close(self) -> None:
        if await self._calls.close():
            await self._informer.close()
            await self._server.close()

    def _remember(self, session: Lease) -> None:
        self._observed.saw(session)
        self._sessions[name_of(session)] = session

    def _forget(self, session: str) -> None:
        self._sessions.pop(session, None)
        self._claims.held.pop(session, None)
        self._members = {
            name: made for name, made in self._members.items() if labels(made).get(OF) != session
        }


def session_of_member_or_gone(member: Member) -> str:
    session = session_of_member(member.group, member.id)
    if session is None:
        raise member_gone(member)
    return session


def _joining(session: Session, group: str, request_id: str, value: bytes) -> Joining:
    """The session and the group name the member, so the request needs no name of its own."""
    reference = Reference.from_bytes(session.ref)
    check_name("group", group)
    check_request_id(request_id)
    check_member_value(value)
    return Joining(group, reference, value)
