"""A group at one revision, as a list of Leases shows it. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from incumbent.engines.api import Member
from incumbent.engines.kubernetes.client import Listed
from incumbent.engines.kubernetes.leases import (
    INCARNATION,
    KIND,
    NUMBER,
    OF,
    SESSION_UID,
    Lease,
    election_name,
    has_joined,
    identity,
    is_ending,
    joined_of,
    labels,
    left_of,
    name_of,
    notes,
    uid_of,
    version_of,
)


@dataclass(frozen=True, slots=True)
class Seated:
    """A member whose session is there."""

    lease: Lease
    session: Lease
    name: str
    revision: int

    @property
    def identity(self) -> str:
        return identity(self.name, self.revision)

    def may_be(self, holder: str) -> bool:
        """Whether that holder may be this member. Until its revision is written down, anybody's label changes what it seems to be."""
        name, _, _ = holder.partition("/")
        return self.identity == holder or (self.name == name and not has_joined(self.lease))


@dataclass(frozen=True, slots=True)
class Snapshot:
    revision: int
    members: tuple[Seated, ...]  # in the order in which they joined
    sessions: tuple[Lease, ...]  # of the whole namespace
    election: Lease | None  # None also when a foreign candidate made it, and it has no label of ours yet
    incarnation: int
    raised_at: int  # the revision at which the incarnation was raised last

    @classmethod
    def of(cls, group: str, listed: Listed) -> Self:
        sessions = {uid_of(lease): lease for lease in listed.leases if labels(lease).get(KIND) == "session"}
        members: list[Seated] = []
        election = incarnation = None
        for lease in listed.leases:
            match labels(lease).get(KIND):
                case "member":
                    session = sessions.get(notes(lease).get(SESSION_UID, ""))
                    if session is not None and labels(lease).get(OF) == name_of(session):
                        members.append(Seated(lease, session, name_of(lease), joined_of(lease)))
                case "election" if name_of(lease) == election_name(group):
                    election = lease
                case "incarnation" if name_of(lease) == INCARNATION:
                    incarnation = lease
                case _:
                    pass
        return cls(
            listed.revision,
            tuple(sorted(members, key=lambda member: member.revision)),
            tuple(sessions.values()),
            election,
            number_of(incarnation),
            0 if incarnation is None else version_of(incarnation),
        )

    def find(self, member: Member) -> Seated | None:
        for seated in self.members:
            if (seated.name, seated.revision) == (member.id, member.revision):
                return seated
        return None

    def ending_members(self) -> list[Seated]:
        left = "" if self.election is None else left_of(self.election)
        return [seated for seated in self.members if is_ending(seated.lease) or seated.identity == left]


def number_of(incarnation: Lease | None) -> int:
    text = "0" if incarnation is None else notes(incarnation).get(NUMBER, "0")
    return int(text) if text.isdecimal() and len(text) < 4 else 0
