"""One joining, over all its attempts: the member's Lease, its session's life, and the revision at which it was created."""

from __future__ import annotations

from incumbent.engines.api import Member
from incumbent.engines.kubernetes import ending
from incumbent.engines.kubernetes.claims import written_down
from incumbent.engines.kubernetes.client import Conflict, Exists, Leases
from incumbent.engines.kubernetes.leases import (
    Lease,
    has_joined,
    is_ending,
    joined_of,
    member_name,
    new_member,
    session_uid_of,
    version_of,
)
from incumbent.engines.kubernetes.reference import Reference


class Joining:
    def __init__(self, group: str, reference: Reference, value: bytes) -> None:
        self.name = member_name(group, reference.name)
        self.made: Lease = {}
        self._group = group
        self._reference = reference
        self._value = value
        self._created_at = 0

    async def create(self, leases: Leases) -> bool:
        """False: it was there."""
        reference = self._reference
        try:
            self.made = await leases.create(
                new_member(self._group, reference.name, reference.uid, self._value)
            )
        except Exists:
            self.made = await leases.get(self.name)
            if is_ending(self.made) or session_uid_of(self.made) != reference.uid:
                await ending.finish_member(leases, await ending.mark(leases, self.made))
                raise Conflict from None
            return False
        self._created_at = version_of(self.made)
        return True

    async def write_down(self, leases: Leases) -> None:
        if not has_joined(self.made):
            self.made = await leases.update(written_down(self.made, self.member.revision))

    @property
    def member(self) -> Member:
        written = has_joined(self.made) or not self._created_at
        return Member(self._group, self.name, joined_of(self.made) if written else self._created_at)
