"""Who is first, and takes the election's Lease: in one write where the informer saw enough, else by lists.

A member claims when it is the first of ours and the election's Lease is free: its holder is nobody, or one of ours that is over,
or a foreign candidate that was silent for its own duration. It takes it by an update that compares the version, and then looks
again: only if it is still there, of the same incarnation, and the holder, was it first at one moment. So a claim that was under
way while its member ended is never answered.

Both looks may be at what the informer saw. Before the update: whoever is first once it has joined stays first while it is there, since
revisions only rise; so any view of the group that is no older than its joining will do, and a view without the member does not. What
that view says of the election is settled by the update, which compares the version: a stale one elects nobody. After the update: once
the update's own event has come by, what was seen is the group at that update or later, as a list would show it. A view that does
not get there in time, shows something that is over, or says anything but yes is no answer: then the group is read.
"""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Claimed, Member, Waiting
from incumbent.engines.kubernetes import ending
from incumbent.engines.kubernetes.cell_store import CellStore
from incumbent.engines.kubernetes.client import Conflict, Leases, NotThere
from incumbent.engines.kubernetes.group_reader import GroupReader
from incumbent.engines.kubernetes.leases import (
    JOINED,
    NS,
    Lease,
    acquired,
    changed,
    duration_ns,
    election_name,
    has_joined,
    holder_of,
    identity,
    name_of,
    new_election,
    session_of_member,
    spec,
    token_of,
    version_of,
)
from incumbent.engines.kubernetes.observed import Observed
from incumbent.engines.kubernetes.snapshot import Seated, Snapshot
from incumbent.engines.kubernetes.turn import Turn
from incumbent.errors import IncarnationChanged, MemberGone, Unsupported
from incumbent.ids import TOKEN_NATIVE_MAX, make_token

BEHIND_OURS_RETRY_S: Final = 1.0
RETRY_AFTER_S_MIN: Final = 0.001


class Claims:
    """Of one engine. Remembers what its sessions hold, so that it is renewed."""

    def __init__(self, groups: GroupReader, cells: CellStore, observed: Observed) -> None:
        self.groups = groups
        self._cells = cells
        self._observed = observed
        self.held: dict[str, dict[str, Lease]] = {}  # by session: the elections that it holds, by name

    async def claim(self, leases: Leases, member: Member, cell: str | None) -> Claimed | Waiting:
        return await self.at_once(leases, member, cell) or await self.by_lists(leases, member, cell)

    async def at_once(self, leases: Leases, member: Member, cell: str | None) -> Claimed | None:
        """In one write and no read. None where that cannot be: then nothing was decided."""
        before = await self.groups.seen(member.group, member.revision)
        me = None if before is None else before.find(member)
        if before is None or me is None or before.members[0] is not me or before.raised_at > me.revision:
            return None
        election = before.election
        if election is None or spec(election, "holderIdentity"):
            return None
        token = _next_token(election, before.incarnation)
        try:
            taken = await leases.update(_taken(election, me, token, member.group))
        except (Conflict, NotThere):
            return None
        if version_of(taken) <= before.revision:  # a restored server: what was seen is none of its past
            await ending.release(leases, taken, me.may_be)
            return None
        after = await self.groups.seen(member.group, version_of(taken))
        if after is not None and _holds(after, member, token) and after.raised_at <= member.revision:
            return await self._won(leases, member, after.election, token, cell)
        return await self._look_again(leases, member, token, cell)

    async def by_lists(self, leases: Leases, member: Member, cell: str | None) -> Claimed | Waiting:
        """Nothing is written before the group was read: what a restored server lacks is noticed by how far it has come."""
        snapshot = await self.groups.settled(leases, member.group)
        me = _still_there(snapshot, member)
        if not has_joined(me.lease):
            await leases.update(written_down(me.lease, me.revision))
        ahead = snapshot.members[snapshot.members.index(me) - 1] if snapshot.members[0] is not me else None
        if ahead is not None:
            keys = (ahead.name, name_of(ahead.session), me.name, name_of(me.session))
            return Waiting(ahead.name, Turn(snapshot.revision, keys), self._retry_after(ahead.session))
        election = snapshot.election or await leases.find(election_name(member.group))
        if election is None:
            election = await leases.create(new_election(member.group))
        if holder_of(election) == me.identity:
            return await self._won(leases, member, election, token_of(election), cell)
        holder = spec(election, "holderIdentity") or ""
        if holder and not self._may_take(election, snapshot, me):
            ours = bool(holder_of(election))
            retry_after = BEHIND_OURS_RETRY_S if ours else self._retry_after(election)
            return Waiting(holder, Turn(snapshot.revision, (name_of(election), me.name)), retry_after)
        token = _next_token(election, snapshot.incarnation)
        await leases.update(_taken(election, me, token, member.group))
        return await self._look_again(leases, member, token, cell)

    async def _look_again(self, leases: Leases, member: Member, token: int, cell: str | None) -> Claimed:
        """After the update: it counts only if the member is there still, and of this incarnation."""
        try:
            snapshot = await self.groups.settled(leases, member.group)
            _still_there(snapshot, member)
        except (MemberGone, IncarnationChanged):
            lost = await leases.find(election_name(member.group))
            if lost is not None:
                mine = identity(member.id, member.revision)
                await ending.release(leases, lost, lambda holder: holder == mine)
            raise
        if not _holds(snapshot, member, token):
            raise Conflict
        return await self._won(leases, member, snapshot.election, token, cell)

    async def _won(
        self, leases: Leases, member: Member, election: Lease | None, token: int, cell: str | None
    ) -> Claimed:
        """`election` shows that it holds: so the cell in it was read with the claim, or after it."""
        assert election is not None
        session = session_of_member(member.group, member.id) or ""
        self.held.setdefault(session, {})[name_of(election)] = election
        beside = None if cell is None else await self._cells.beside(leases, election, cell)
        return Claimed(member, token, beside)

    def _may_take(self, election: Lease, snapshot: Snapshot, me: Seated) -> bool:
        """Whether a holder, who is not `me`, is over: one of ours that is no member any more, or a foreign one after its own
        duration."""
        holder = holder_of(election)
        if holder:
            return not any(member.may_be(holder) for member in snapshot.members if member is not me)
        return self._observed.left_ns(election) <= 0

    def _retry_after(self, lease: Lease) -> float:
        return max(self._observed.left_ns(lease) / NS, RETRY_AFTER_S_MIN)


def written_down(member: Lease, revision: int) -> Lease:
    """From here on its place does not hang on the version, which anybody's label or annotation changes."""
    return changed(member, annotations={JOINED: str(revision)})


def member_gone(member: Member) -> MemberGone:
    return MemberGone(f"member {member.id[:120]} has left, was removed, or its session ended")


def _taken(election: Lease, me: Seated, token: int, group: str) -> Lease:
    return acquired(election, group, name_of(me.session), me.identity, token, duration_ns(me.session))


def _holds(snapshot: Snapshot, member: Member, token: int) -> bool:
    election, me = snapshot.election, snapshot.find(member)
    if election is None or me is None:
        return False
    return holder_of(election) == me.identity and token_of(election) == token


def _still_there(snapshot: Snapshot, member: Member) -> Seated:
    """Raises MemberGone, IncarnationChanged."""
    me = snapshot.find(member)
    if me is None:
        raise member_gone(member)
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
