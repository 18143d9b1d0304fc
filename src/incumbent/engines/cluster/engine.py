"""The engine on a cluster of our own: asks what `members` and `cells` say, and settles answers that were lost.

Everything but a write of cells is idempotent by construction, so a lost answer is settled by asking again. A write of cells
is settled by what the cells themselves tell (`cells.Trace`); where they cannot tell, the outcome stays unknown.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

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
from incumbent.engines.cluster import cells, members
from incumbent.engines.cluster.cells import CellStep
from incumbent.engines.cluster.guarantees import GUARANTEES
from incumbent.engines.cluster.layout import WRITER_BYTES, group_range, lease_for, lease_of
from incumbent.engines.cluster.link import Link, any_of
from incumbent.engines.cluster.members import Turn
from incumbent.engines.cluster.reference import Address, Reference
from incumbent.engines.cluster.settling import settle, until_known
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
from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    NotFirst,
    OutcomeUnknown,
    Overloaded,
    SessionGone,
    Unsupported,
)
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import NO_LEASE, Code, Command, LeaseGrant, LeaseRevoke, Query, Range, Result

if TYPE_CHECKING:
    from incumbent.runtime.tls import TlsFiles
    from incumbent.runtime.voter import Voter

PATIENCE_PARTS: Final = 100
PATIENCE_S_MAX: Final = 0.05
"""A renewal has a hundredth of its ttl to spare, at most a heartbeat: then one round confirms those of many sessions."""
CALL_TIMEOUT_S: Final = 5.0
"""How long one call may take, with all its attempts."""
NS: Final = 1_000_000_000


class ClusterEngine:
    """Bound to the event loop and the process that made it. Owns `link`."""

    def __init__(
        self,
        link: Link,
        *,
        cluster: str,
        voters: Callable[[], Mapping[str, Address]],
        call_timeout_s: float = CALL_TIMEOUT_S,
        voter: Voter | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.voter = voter
        """The voter embedded in this process; None when there is none."""
        self._link = link
        self._cluster = cluster
        self._voters = voters
        self._tls = None if tls is None else (str(tls.certificate), str(tls.key), str(tls.ca))
        self._call_timeout_s = call_timeout_s
        self._pid = os.getpid()
        self._closed = False

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES

    # --- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        check_ttl(ttl)
        check_release_delay(release_delay)
        reference = Reference(
            self._cluster,
            lease_for(check_request_id(request_id)),
            math.ceil(ttl * NS),
            math.ceil(release_delay * NS),
            dict(self._voters()),
            self._tls,
        )
        ref = reference.to_bytes()
        result, _ = await self._apply(LeaseGrant(reference.lease, reference.lease_ttl_ns))
        if result.code is Code.LEASE_EXISTS:
            raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
        try:
            # The grant may have found the lease of an earlier attempt, with some of its time gone.
            await self._renew(reference.lease)
        except (EngineUnavailable, Overloaded) as error:
            raise OutcomeUnknown("the session was opened, and then the cluster was lost") from error
        return Session(ref, ttl)

    async def renew(self, session: Session) -> None:
        patience = min(session.ttl / PATIENCE_PARTS, PATIENCE_S_MAX)
        await self._renew(self._reference(session.ref).lease, patience)

    async def end_session(self, ref: Ref) -> bool:
        """When an attempt's answer was lost and the next finds the session over, it was ours that ended it, for all
        that anybody can tell."""
        result, asked_before = await self._apply(LeaseRevoke(self._reference(ref).lease))
        return result.code is Code.OK or asked_before

    async def _renew(self, lease: LeaseId, patience: float = 0.0) -> None:
        self._check_open()
        result = await self._link.renew(lease, patience=patience, timeout=self._call_timeout_s)
        if result.code is not Code.OK:
            raise SessionGone("the session has ended")

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        """The session and the group name the member, so the request needs no name of its own."""
        lease = self._reference(session.ref).lease
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        result, _ = await self._apply(members.join(lease, group, value))
        return members.joined(lease, group, result)

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        lease = _lease_of(member)
        check_beside(cell)
        return members.claimed(member, await self._read(members.claim(member, cell), lease))

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        """One trip where nobody else is there."""
        lease = self._reference(session.ref).lease
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        check_beside(cell)
        result, _ = await self._apply(members.stand(lease, group, value, cell))
        member, claimed = members.stood(lease, group, result)
        return (member, claimed) if claimed is not None else await claim_joined(self, member, cell)

    async def update(self, member: Member, value: bytes) -> None:
        lease = _lease_of(member)
        check_member_value(value)
        result, _ = await self._apply(members.update(lease, member, value))
        members.updated(member, result)

    async def leave(self, member: Member) -> None:
        await self.remove(member.group, member.id, member.revision)

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """As `end_session`: gone after a lost answer counts as removed by it."""
        check_name("group", group)
        if lease_of(id) is None or revision <= 0:
            return False
        result, asked_before = await self._apply(members.remove(group, id, revision))
        return result.succeeded or asked_before

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        return members.as_roster(group, await self._read(members.roster(group)))

    def watch(self, group: str, after: object) -> AsyncIterator[None]:
        """Watches one voter, which may lag behind: what it has yet to apply wakes when it is applied."""
        check_name("group", group)
        self._check_process()
        match after:
            case Turn(revision, keys):
                return any_of([self._link.watch(key, None, revision) for key in keys])
            case int():
                return self._link.watch(*group_range(group), Revision(after))
            case _:
                raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        found = await self._read(Range(members.cell_key(group, name)))
        return cells.as_cell(found.results[0])

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        """Raises OutcomeUnknown when the answer was lost and the cells were overwritten since, or were written under
        no expected version and do not show it."""
        check_name("group", group)
        check_cell_writes(writes, GUARANTEES.cell_bytes_max)
        if claimed is not None and claimed.member.group != group:
            raise InvalidInput("claimed", "is of another group", "pass the claim of the cells' own group")
        if claimed is not None and lease_of(claimed.member.id) is None:
            raise NotFirst(f"{claimed.member.id[:40]!r} is no member of this engine's")
        self._check_open()
        step = CellStep(members, group, writes, claimed, secrets.token_bytes(WRITER_BYTES))
        return await settle(step, self._link, self._call_timeout_s)

    async def close(self) -> None:
        if self._closed or os.getpid() != self._pid:
            return  # closed already; or a forked child, where all of it is the parent's
        self._closed = True
        await self._link.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _apply(self, command: Command) -> tuple[Result, bool]:
        """Have an idempotent command applied. Also says whether an earlier attempt of it may have been."""
        self._check_open()
        return await until_known(
            lambda left_s: self._link.submit(command, timeout=left_s), self._call_timeout_s
        )

    async def _read(self, query: Query, lease: LeaseId = NO_LEASE) -> Result:
        self._check_open()
        return await self._link.read(query, lease=lease, timeout=self._call_timeout_s)

    def _reference(self, ref: Ref) -> Reference:
        reference = Reference.from_bytes(ref)
        if reference.cluster != self._cluster:
            raise InvalidInput(
                "ref", f"belongs to cluster {reference.cluster!r}", f"this engine is on {self._cluster!r}"
            )
        return reference

    def _check_open(self) -> None:
        self._check_process()
        if self._closed:
            raise EngineUnavailable("this engine is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")


def _lease_of(member: Member) -> LeaseId:
    check_name("group", member.group)
    lease = lease_of(member.id)
    if lease is None:
        raise members.member_gone(member)
    return lease
