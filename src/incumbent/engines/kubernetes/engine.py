"""The engine on Kubernetes Leases. What a Lease looks like is in `leases`, how things end in `ending`, cells in `cells`.

A member claims when it is the first of ours and the election's Lease is free: its holder is nobody, or one of ours that is over,
or a foreign candidate that was silent for its own duration. It takes it by an update that compares the version, and then looks
again: only if it is still there, of the same incarnation, and the holder, was it first at one moment. So a claim that was under
way while its member ended is never answered.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
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
from incumbent.engines.kubernetes.client import Conflict, Exists, Leases, NotThere, Server
from incumbent.engines.kubernetes.group_reader import GroupReader
from incumbent.engines.kubernetes.guarantees import GUARANTEES
from incumbent.engines.kubernetes.informer import Informer
from incumbent.engines.kubernetes.leases import (
    JOINED,
    NS,
    VALUE,
    Lease,
    acquired,
    changed,
    duration_ns,
    election_name,
    encode_value,
    has_joined,
    hashed,
    holder_of,
    identity,
    is_ending,
    joined_of,
    member_name,
    name_of,
    new_election,
    new_member,
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
from incumbent.engines.kubernetes.snapshot import Seated, Snapshot
from incumbent.engines.trips import join_and_claim, with_cell
from incumbent.errors import (
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotFirst,
    OutcomeUnknown,
    SessionGone,
    Unsupported,
)
from incumbent.ids import TOKEN_NATIVE_MAX, make_token
from incumbent.ports import Clock
from incumbent.runtime.clock import BoottimeClock

CALL_TIMEOUT_S: Final = 5.0
"""How long one call may take, with all its attempts."""
BEHIND_OURS_RETRY_S: Final = 1.0
RETRY_AFTER_S_MIN: Final = 0.001


@dataclass(frozen=True, slots=True)
class Turn:
    """Watching from here wakes for these Leases: the one waited for, and the own one."""

    revision: int
    keys: tuple[str, ...]


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
        self._groups = GroupReader(self._observed)
        self._cells = CellStore()
        self._sessions: dict[str, Lease] = {}  # as this engine wrote them last
        self._held: dict[str, dict[str, Lease]] = {}  # by session: the elections that it holds, by name

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
            held = self._held.get(reference.name, {})
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
        held = self._held.get(session, {})
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
        """The session and the group name the member, so the request needs no name of its own."""
        reference = Reference.from_bytes(session.ref)
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        created_at = 0

        async def act(leases: Leases) -> Member:
            nonlocal created_at
            try:
                lease = await leases.create(new_member(group, reference.name, reference.uid, value))
                created_at = version_of(lease)
            except Exists:
                lease = await leases.get(member_name(group, reference.name))
                if is_ending(lease) or session_uid_of(lease) != reference.uid:
                    await ending.finish_member(leases, await ending.mark(leases, lease))
                    raise Conflict from None
            try:
                await self._live_session(leases, reference.name, reference.uid)
            except SessionGone:
                await leases.delete(lease)
                raise
            if not has_joined(lease):
                # From here on its place does not hang on the version, which anybody's label or annotation changes.
                lease = await leases.update(
                    changed(lease, annotations={JOINED: str(created_at or version_of(lease))})
                )
            return Member(group, name_of(lease), joined_of(lease))

        return await self._calls.finish(act, one_at_a_time=member_name(group, reference.name))

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        session_of_member_or_gone(member)
        check_beside(cell)
        answer = await self._calls.finish(lambda leases: self._claim(leases, member))
        return await with_cell(self, answer, cell)

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        check_beside(cell)
        return await join_and_claim(self, session, group, request_id, value, cell)

    async def _claim(self, leases: Leases, member: Member) -> Claimed | Waiting:
        snapshot = await self._groups.settled(leases, member.group)
        me = _still_there(snapshot, member)
        ahead = snapshot.members[snapshot.members.index(me) - 1] if snapshot.members[0] is not me else None
        if ahead is not None:
            keys = (ahead.name, name_of(ahead.session), me.name, name_of(me.session))
            return Waiting(ahead.name, Turn(snapshot.revision, keys), self._retry_after(ahead.session))
        election = snapshot.election or await leases.find(election_name(member.group))
        if election is None:
            election = await leases.create(new_election(member.group))
        if holder_of(election) == me.identity:
            self._hold(me, election)
            return Claimed(member, token_of(election))
        holder = spec(election, "holderIdentity") or ""
        if holder and not self._may_take(election, snapshot):
            ours = bool(holder_of(election))
            retry_after = BEHIND_OURS_RETRY_S if ours else self._retry_after(election)
            return Waiting(holder, Turn(snapshot.revision, (name_of(election), me.name)), retry_after)
        token = _next_token(election, snapshot.incarnation)
        taken = acquired(
            election, member.group, name_of(me.session), me.identity, token, duration_ns(me.session)
        )
        await leases.update(taken)
        return await self._look_again(leases, member, token)

    async def _look_again(self, leases: Leases, member: Member, token: int) -> Claimed | Waiting:
        """After the update: it counts only if the member is there still, and of this incarnation."""
        try:
            snapshot = await self._groups.settled(leases, member.group)
            me = _still_there(snapshot, member)
        except (MemberGone, IncarnationChanged):
            lost = await leases.find(election_name(member.group))
            if lost is not None:
                mine = identity(member.id, member.revision)
                await ending.release(leases, lost, lambda holder: holder == mine)
            raise
        election = snapshot.election
        if election is None or holder_of(election) != me.identity or token_of(election) != token:
            raise Conflict
        self._hold(me, election)
        return Claimed(member, token)

    def _may_take(self, election: Lease, snapshot: Snapshot) -> bool:
        """Whether a holder is over: one of ours that is no member any more, or a foreign one after its own duration."""
        holder = holder_of(election)
        if holder:
            return all(member.identity != holder for member in snapshot.members)
        return self._observed.left_ns(election) <= 0

    def _retry_after(self, lease: Lease) -> float:
        return max(self._observed.left_ns(lease) / NS, RETRY_AFTER_S_MIN)

    async def update(self, member: Member, value: bytes) -> None:
        session = session_of_member_or_gone(member)
        check_member_value(value)

        async def act(leases: Leases) -> None:
            lease = await leases.find(member.id)
            if lease is None or joined_of(lease) != member.revision or is_ending(lease):
                raise _member_gone(member)
            try:
                await self._live_session(leases, session, session_uid_of(lease))
                marks = {VALUE: encode_value(value), JOINED: str(member.revision)}
                await leases.update(changed(lease, annotations=marks))
            except (SessionGone, NotThere):
                raise _member_gone(member) from None

        await self._calls.finish(act, one_at_a_time=member.id)

    async def leave(self, member: Member) -> None:
        await self.remove(member.group, member.id, member.revision)

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """As `end_session`: gone after a lost answer counts as removed by it. A foreign candidate cannot be removed: False."""
        check_name("group", group)
        session = session_of_member(group, id)
        if session is None:
            return False
        marked = False

        async def act(leases: Leases) -> bool:
            nonlocal marked
            lease = await leases.find(id)
            if lease is None or joined_of(lease) != revision:
                return marked
            was_ending = is_ending(lease)
            try:
                lease = await ending.mark(leases, lease)
            except OutcomeUnknown:
                marked = True
                raise
            except NotThere:
                return marked
            marked = marked or not was_ending
            await ending.finish_member(leases, lease)
            return marked

        removed = await self._calls.finish(act, one_at_a_time=id)
        self._held.get(session, {}).pop(election_name(group), None)
        return removed

    async def roster(self, group: str) -> Roster:
        check_name("group", group)

        async def act(leases: Leases) -> Roster:
            snapshot = await self._groups.settled(leases, group)
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
        self._held.pop(session, None)

    def _hold(self, me: Seated, election: Lease) -> None:
        self._held.setdefault(name_of(me.session), {})[name_of(election)] = election


def session_of_member_or_gone(member: Member) -> str:
    session = session_of_member(member.group, member.id)
    if session is None:
        raise _member_gone(member)
    return session


def _still_there(snapshot: Snapshot, member: Member) -> Seated:
    """Raises MemberGone, IncarnationChanged."""
    me = snapshot.find(member)
    if me is None:
        raise _member_gone(member)
    if snapshot.raised_at > member.revision:
        raise IncarnationChanged("the incarnation was raised since this member joined")
    return me


def _next_token(election: Lease, incarnation: int) -> int:
    """From the version that is about to be replaced. Raises IncarnationChanged when it would not rise: a restored etcd."""
    version = version_of(election)
    if not 0 < version <= TOKEN_NATIVE_MAX:
        raise Unsupported(f"the resourceVersion {version} does not fit a token's 56 bits")
    token = make_token(incarnation, version)
    if token <= token_of(election):
        raise IncarnationChanged(
            f"the token {token} would come after {token_of(election)}: the cluster was restored; run `incumbent engine bump`"
        )
    return token


def _member_gone(member: Member) -> MemberGone:
    return MemberGone(f"member {member.id[:120]} has left, was removed, or its session ended")
