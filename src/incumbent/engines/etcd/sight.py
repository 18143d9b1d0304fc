"""What one client has seen of its etcd, and whether it was the same one all along. PURE.

An etcd that was restored from a backup, or wiped, has the same addresses and, with the same settings, the same name. A newcomer
cannot tell. Who was connected can: the revision, a member's term, or the incarnation is lower than it was. From then on this
client leads nothing until an operator has raised the incarnation above all that it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from incumbent.errors import IncarnationChanged

MEMBERS_MAX: Final = 64
"""Members whose terms are remembered. More have been seen only where somebody replaces them all day."""


class Header(NamedTuple):
    """What stands over every answer: the member that gave it speaks."""

    cluster: int
    member: int
    term: int  # of Raft: that of the last entry which that member has applied
    revision: int  # 0: not said


class Mark(NamedTuple):
    """What had been seen when a request left: its answer must not be behind that."""

    revision: int
    terms: Mapping[int, int]
    incarnation: int


@dataclass(slots=True)
class Sight:
    cluster: int = 0  # 0: nothing seen yet
    revision: int = 0
    incarnation: int = 0
    needs: int = 0  # the incarnation without which this client leads nothing; 0: it may lead
    terms: dict[int, int] = field(default_factory=dict)
    former: set[int] = field(default_factory=set)  # clusters that this was before

    def mark(self) -> Mark:
        return Mark(self.revision, dict(self.terms), self.incarnation)

    def see(self, mark: Mark, header: Header, *, linearizable: bool) -> None:
        """An answer came to a request that left at `mark`. Raises IncarnationChanged.

        Only a linearizable answer says anything when it is low: others may come from a member that lags, or is starting.
        """
        if self.cluster and header.cluster != self.cluster:
            self._replaced(header, f"it is cluster {header.cluster:x}, and was {self.cluster:x}")
        if linearizable and header.term < mark.terms.get(header.member, 0):
            self._replaced(
                header,
                f"member {header.member:x} is in term {header.term}, and was in {mark.terms[header.member]}",
            )
        if linearizable and 0 < header.revision < mark.revision:
            self._replaced(header, f"its revision is {header.revision}, and was {mark.revision}")
        self.cluster = header.cluster
        self.revision = max(self.revision, header.revision)
        if header.member in self.terms or len(self.terms) < MEMBERS_MAX:
            self.terms[header.member] = max(self.terms.get(header.member, 0), header.term)

    def see_incarnation(self, mark: Mark, incarnation: int) -> None:
        """A linearizable answer to a request that left at `mark` held it. Raises IncarnationChanged while this client leads
        nothing."""
        if incarnation < mark.incarnation:
            self.needs = max(self.needs, self.incarnation + 1)
        self.incarnation = max(self.incarnation, incarnation)
        if incarnation >= self.needs:
            self.needs = 0
        self.check()

    def check(self) -> None:
        """Raises IncarnationChanged while this client leads nothing."""
        if self.needs:
            raise IncarnationChanged(
                f"this etcd was restored or replaced; once its incarnation is raised to {self.needs} (incumbent engine bump) "
                "terms can begin again"
            )

    def _replaced(self, header: Header, why: str) -> None:
        self.needs = self.incarnation + 1
        if header.cluster != self.cluster and len(self.former) < MEMBERS_MAX:
            self.former.add(self.cluster)
        self.cluster, self.revision, self.terms = (
            header.cluster,
            header.revision,
            {header.member: header.term},
        )
        raise IncarnationChanged(f"this etcd was restored or replaced: {why}")
