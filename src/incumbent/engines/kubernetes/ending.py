"""How a member and a session end, whoever ends them: the one who leaves, an operator, who saw the silence, or the guardian.

    1 mark     the Lease of the member or session says that it is ending. It compares the version, so a renewal in time wins;
               from here on nothing renews it and no claim of it is answered
    2 release  every election that it holds is let go
    3 delete   rosters show it no longer, and a session's members go in this one step

A guarded write compares the election's holder, so none passes after 2; a roster shows it until 3: no write under a term comes
after a roster that does not show its member. Whoever meets one that is marked does the rest, so a death half-way hurts nobody.
An acquisition that was under way over all of this is never answered as a claim: claim looks again after it.

Who holds an election and leaves needs no mark: 2 says who leaves by it (`LEFT`), in the one Lease that a claim of it would have to change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from incumbent.engines.kubernetes.client import Conflict, Leases, NotThere
from incumbent.engines.kubernetes.leases import (
    ENDING,
    JOINED,
    KIND,
    OF,
    SESSION_UID,
    Lease,
    changed,
    election_name,
    group_of,
    holder_of,
    identity,
    is_ending,
    joined_of,
    labels,
    name_of,
    notes,
    released,
    uid_of,
)
from incumbent.errors import OutcomeUnknown


async def mark(leases: Leases, lease: Lease) -> Lease:
    """Raises Conflict, NotThere."""
    if is_ending(lease):
        return lease
    marks: dict[str, str | None] = {ENDING: "1"}
    if labels(lease).get(KIND) == "member":
        marks[JOINED] = str(joined_of(lease))
    return await leases.update(changed(lease, annotations=marks))


async def end_session(leases: Leases, name: str, uid: str) -> bool:
    """End it whatever its version. False: it was over."""
    while True:
        session = await leases.find(name)
        if session is None or uid_of(session) != uid:
            return False
        was_ending = is_ending(session)
        try:
            session = await mark(leases, session)
        except Conflict:
            continue  # it was renewed meanwhile
        except NotThere:
            return False
        await finish_session(leases, session)
        return not was_ending


async def finish_session(leases: Leases, session: Lease) -> None:
    """Steps 2 and 3 of a session that is marked. Idempotent."""
    name, uid = name_of(session), uid_of(session)
    held = (await leases.list(f"{OF}={name}")).leases
    suffix = name.rpartition("-")[2]
    elections = [lease for lease in held if labels(lease).get(KIND) == "election"]
    await asyncio.gather(
        *(
            release(leases, lease, lambda holder: holder.partition("/")[0].endswith(f"-{suffix}"))
            for lease in elections
        )
    )
    await leases.delete(session)
    members = [lease for lease in held if labels(lease).get(KIND) == "member"]
    await asyncio.gather(*(leases.delete(m) for m in members if notes(m).get(SESSION_UID) == uid))


async def finish_member(leases: Leases, member: Lease) -> None:
    """Steps 2 and 3 of a member that is marked. Idempotent."""
    holder = identity(name_of(member), joined_of(member))
    election = await leases.find(election_name(group_of(member)))
    if election is not None:
        await release(leases, election, lambda found: found == holder)
    await leases.delete(member)


class Leaving:
    """One removal of a member, over all its attempts."""

    def __init__(self, name: str, revision: int) -> None:
        self._name = name
        self._revision = revision
        self._marked = False  # by this removal, as far as it knows

    async def act(self, leases: Leases) -> bool:
        """Gone after a lost answer counts as removed by it."""
        lease = await leases.find(self._name)
        if lease is None or joined_of(lease) != self._revision:
            return self._marked
        was_ending = is_ending(lease)
        try:
            lease = await mark(leases, lease)
        except OutcomeUnknown:
            self._marked = True
            raise
        except NotThere:
            return self._marked
        self._marked = self._marked or not was_ending
        await finish_member(leases, lease)
        return self._marked


async def release(leases: Leases, election: Lease, is_his: Callable[[str], bool], *, left: str = "") -> bool:
    """Let go of an election, if it is his: True. `left`: the member that has left by it."""
    found: Lease | None = election
    while found is not None and is_his(holder_of(found)):
        try:
            await leases.update(released(found, left))
        except Conflict:
            found = await leases.find(name_of(found))
        except NotThere:
            return False
        else:
            return True
    return False
