"""Reading a group, and bringing to an end on the way what is over: nobody else would, since the API server has no clock.

A group is read by a list, or is what the informer has seen once it has reached a revision: both are the group at one moment.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from incumbent.engines.kubernetes import ending
from incumbent.engines.kubernetes.client import Conflict, Leases, NotThere
from incumbent.engines.kubernetes.informer import Informer
from incumbent.engines.kubernetes.leases import Lease, duration_ns, group_selector, uid_of
from incumbent.engines.kubernetes.observed import Observed
from incumbent.engines.kubernetes.snapshot import Snapshot
from incumbent.errors import EngineUnavailable, IncarnationChanged

ROUNDS_MAX: Final = 100
"""How often a group is read again because something of it was over."""


class GroupReader:
    """Of one engine. Remembers the highest incarnation, and revision in it, that it read."""

    def __init__(self, observed: Observed, informer: Informer) -> None:
        self._observed = observed
        self._informer = informer
        self._known = (0, 0)

    async def settled(self, leases: Leases, group: str) -> Snapshot:
        """The group at one revision at which nothing of it is over or ending: what is, is brought to its end first."""
        for _ in range(ROUNDS_MAX):
            known = self._known  # before asking: answers of several calls may overtake each other
            listed = await leases.list(group_selector(group))
            snapshot = Snapshot.of(group, listed)
            self._check_history(snapshot, known)
            for lease in listed.leases:
                self._observed.saw(lease)
            sessions = {uid_of(member.session) for member in snapshot.members}
            over = self._over(snapshot)
            over += [s for s in snapshot.sessions if uid_of(s) not in sessions and self._is_long_over(s)]
            members = [member for member in snapshot.ending_members() if member.session not in over]
            if not over and not members:
                return snapshot
            for session in over:
                with suppress(Conflict, NotThere):  # renewed at the last moment, or ended by somebody else
                    await ending.finish_session(leases, await ending.mark(leases, session))
            for member in members:
                await ending.finish_member(leases, member.lease)
        raise EngineUnavailable("the group does not come to rest")

    async def seen(self, group: str, revision: int) -> Snapshot | None:
        """The group at that revision or later, without asking. None where it has to be read: the informer does not get there in
        time, or what it saw is older than what was read before, or something of the group is over."""
        if not await self._informer.reaches(revision):
            return None
        snapshot = Snapshot.of(group, self._informer.shown(group))
        here = (snapshot.incarnation, snapshot.revision)
        if here < self._known or self._over(snapshot) or snapshot.ending_members():
            return None
        self._known = here
        return snapshot

    def _over(self, snapshot: Snapshot) -> list[Lease]:
        sessions = {uid_of(member.session): member.session for member in snapshot.members}
        return [session for session in sessions.values() if self._observed.is_over(session)]

    def _is_long_over(self, session: Lease) -> bool:
        """One that holds no member of this group is left to those whom it concerns, for a while."""
        return self._observed.left_ns(session) < -duration_ns(session)

    def _check_history(self, snapshot: Snapshot, known: tuple[int, int]) -> None:
        """Revisions that go back are those of a restored etcd. Raises IncarnationChanged until an operator has raised it."""
        seen = (snapshot.incarnation, snapshot.revision)
        if seen < known:
            raise IncarnationChanged(
                f"the API server went back from the incarnation and revision {known} to {seen}: it was restored; "
                "run `incumbent engine bump`"
            )
        self._known = max(self._known, seen)
