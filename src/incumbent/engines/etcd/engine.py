"""The engine on an etcd: asks what `members` and the cluster's `cells` say, and settles answers that were lost.

Everything but a write of cells is idempotent by construction, so a lost answer is settled by asking again. A write of cells is
settled by what the cells themselves tell; where they cannot tell, the outcome stays unknown.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

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
from incumbent.engines.cluster.cells import CellStep, as_cell
from incumbent.engines.cluster.layout import WRITER_BYTES
from incumbent.engines.cluster.members import Turn, member_gone, updated
from incumbent.engines.cluster.settling import settle, until_known
from incumbent.engines.etcd.access import Access
from incumbent.engines.etcd.gateway import Gateway
from incumbent.engines.etcd.guarantees import GUARANTEES
from incumbent.engines.etcd.layout import Layout, lease_for, lease_of
from incumbent.engines.etcd.members import Groups, incarnation_of, raised_since
from incumbent.engines.etcd.reference import Reference
from incumbent.engines.etcd.sight import Mark, Sight
from incumbent.engines.etcd.store import Store
from incumbent.engines.etcd.watching import Watches
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
    IncarnationChanged,
    InvalidInput,
    NotFirst,
    OutcomeUnknown,
    Overloaded,
    ProtocolViolation,
    SessionGone,
    Unsupported,
    VersionConflict,
)
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import Code, Compare, Condition, Is, OperationResult, Put, Range, Result, Txn

LEASE_IDS_MAX: Final = 4
"""Lease ids that one session may find taken by others before it gives up. One of them is, once in millions of years."""
STEP_BYTES_MAX: Final = 1 << 20
"""All the values of one step. An etcd takes requests of 1.5 MiB by default, and base64 is undone before it counts."""
JOINS_MAX: Final = 8
"""A join is asked again when the session left the group meanwhile."""
WHOLE_S: Final = 1e-6
"""So near to a whole second counts as one: sums of two floats do not hit it exactly."""


class EtcdEngine:
    """Bound to the event loop and the process that made it. Owns its gateway."""

    def __init__(self, gateway: Gateway, layout: Layout, call_timeout_s: float) -> None:
        self._gateway = gateway
        self._sight = gateway.sight
        self._store = Store(gateway)
        self._layout = layout
        self._groups = Groups(layout)
        self._watches = Watches(gateway, Range(layout.incarnation_key))
        self._call_timeout_s = call_timeout_s
        self._pid = os.getpid()

    @classmethod
    async def open(cls, access: Access, layout: Layout, call_timeout_s: float) -> EtcdEngine:
        """Raises EngineUnavailable when no member with a quorum behind it answers, NotAllowed."""
        engine = cls(Gateway(access, Sight()), layout, call_timeout_s)
        try:
            mark = engine._sight.mark()
            result = await engine._read(Txn(then=(Range(layout.incarnation_key),)))
            engine._see_incarnation(mark, result.results[0])
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES

    # --- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        """Leases have whole seconds, so `ttl` and `release_delay` together must."""
        total_s = _whole(check_ttl(ttl), check_release_delay(release_delay))
        check_request_id(request_id)
        self._check_open()
        mark = hashlib.sha256(request_id.encode(errors="surrogatepass")).hexdigest().encode()
        for number in range(LEASE_IDS_MAX):
            lease = lease_for(request_id, number)
            ref = Reference(self._sight.cluster, lease, self._gateway.access).to_bytes()
            if await self._grant(lease, total_s, mark):
                break
        else:
            raise EngineUnavailable(f"{LEASE_IDS_MAX} lease ids were taken by others")
        try:
            # The grant may have found the lease of an earlier attempt, with some of its time gone.
            await self._extend(lease)
        except (EngineUnavailable, Overloaded) as error:
            raise OutcomeUnknown("the session was opened, and then the etcd was lost") from error
        return Session(ref, ttl)

    async def _grant(self, lease: LeaseId, total_s: int, mark: bytes) -> bool:
        """Make the lease and the session's key, or find those of an earlier attempt. False: the id is taken by another session.
        Its key tells, since ids are shorter than what they are made from."""
        granted, _ = await until_known(
            lambda left_s: self._store.grant(lease, total_s, timeout=left_s), self._call_timeout_s
        )
        if granted in (None, total_s):
            if not await self._take(lease, b"%b %d" % (mark, total_s)):
                return False
            if granted is None:  # by an earlier attempt, which may have been given something else
                granted = await self._store.granted(lease, timeout=self._call_timeout_s)
        if granted != total_s:
            await self._revoke(lease)
            raise InvalidInput(
                "ttl",
                f"and release_delay make {total_s} s, and this etcd gives {granted} s",
                f"give {granted} s or more",
            )
        return True

    async def _take(self, lease: LeaseId, value: bytes) -> bool:
        """Put the session's key under its lease. False: another session's is there."""
        key = self._layout.session_key(lease)
        result, _ = await self._submit(
            Txn(
                conditions=(Condition(key, Compare.CREATE, Is.EQUAL, 0),),
                then=(Put(key, value, lease),),
                orelse=(Range(key),),
            )
        )
        if result.code is Code.LEASE_NOT_FOUND:
            raise EngineUnavailable("the session ended while it was opened")
        if result.succeeded:
            return True
        (found,) = result.results[0].kvs
        if found.value == value:
            return True
        if found.value.split()[:1] == value.split()[:1]:
            raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
        return False

    async def renew(self, session: Session) -> None:
        """Raises IncarnationChanged when the incarnation was raised since the session was opened, or has to be."""
        mark = self._sight.mark()
        opened, incarnation = await self._extend(self._reference(session.ref).lease)
        self._see_incarnation(mark, incarnation)
        if raised_since(incarnation, opened):
            raise IncarnationChanged("the session was opened before the incarnation was raised")

    async def _extend(self, lease: LeaseId) -> tuple[int, OperationResult]:
        """Returns the revision at which the session was opened, and the incarnation. Raises SessionGone."""
        self._check_open()
        proof = Txn(then=(Range(self._layout.session_key(lease)), Range(self._layout.incarnation_key)))
        found, incarnation = (await self._store.renew(lease, proof, timeout=self._call_timeout_s)).results
        if not found.kvs:
            raise SessionGone("the session has ended")
        return found.kvs[0].create_revision, incarnation

    async def end_session(self, ref: Ref) -> bool:
        """When an attempt's answer was lost and the next finds the session over, it was ours that ended it, for all
        that anybody can tell."""
        try:
            lease = self._reference(ref).lease
        except IncarnationChanged:
            return False
        return await self._revoke(lease)

    async def _revoke(self, lease: LeaseId) -> bool:
        self._check_open()
        ended, asked_before = await until_known(
            lambda left_s: self._store.revoke(lease, timeout=left_s), self._call_timeout_s
        )
        return ended or asked_before

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        lease = self._joining(session, group, request_id, value)
        member, _ = await self._join(
            lease, group, lambda since: self._groups.join(lease, group, value, since)
        )
        return member

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        _lease_of(member)
        check_beside(cell)
        mark = self._sight.mark()
        result = await self._read(self._groups.claim(member, cell))
        self._see_incarnation(mark, result.results[-1])  # of either branch
        return self._groups.claimed(member, result)

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        """One trip where nobody else is there."""
        lease = self._joining(session, group, request_id, value)
        check_beside(cell)
        mark = self._sight.mark()
        member, result = await self._join(
            lease, group, lambda since: self._groups.stand(lease, group, value, since, cell)
        )
        if not result.succeeded:  # it was there already
            return await claim_joined(self, member, cell)
        try:
            self._see_incarnation(mark, result.results[-1])
            claimed = self._groups.stood(member, result)
        except ProtocolViolation:
            await self.leave(member)  # nobody else knows of it
            raise
        return (member, claimed) if claimed is not None else await claim_joined(self, member, cell)

    def _joining(self, session: Session, group: str, request_id: str, value: bytes) -> LeaseId:
        """The lease of who joins. The session and the group name the member, so the request needs no name of its own."""
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        return self._reference(session.ref).lease

    async def _join(self, lease: LeaseId, group: str, command: Callable[[int], Txn]) -> tuple[Member, Result]:
        """`command` is made for the revision after which a leave makes it void."""
        since = self._sight.revision  # not below any leave of ours that was answered
        for _ in range(JOINS_MAX):
            result, _ = await self._submit(command(since))
            member = self._groups.joined(lease, group, result)
            if member is not None:
                return member, result
            since = result.revision
        raise EngineUnavailable("the session leaves that group all the time")

    async def update(self, member: Member, value: bytes) -> None:
        lease = _lease_of(member)
        check_member_value(value)
        result, _ = await self._submit(self._groups.update(lease, member, value))
        updated(member, result)

    async def leave(self, member: Member) -> None:
        await self.remove(member.group, member.id, member.revision)

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """As `end_session`: gone after a lost answer counts as removed by it. Takes candidates of other libraries too: their
        programs go on as far as they do not look."""
        check_name("group", group)
        if not id or "/" in id or revision <= 0:
            return False
        result, asked_before = await self._submit(self._groups.remove(group, id, revision))
        return result.succeeded or asked_before

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        return self._groups.as_roster(group, await self._read(self._groups.roster(group)))

    def watch(self, group: str, after: object) -> AsyncIterator[None]:
        check_name("group", group)
        self._check_process()
        match after:
            case Turn(revision, keys):
                return self._watches.watch([Range(key) for key in keys], revision, only_deletions=True)
            case int():
                ranges = [Range(*self._layout.members(group)), Range(*self._layout.cells(group))]
                return self._watches.watch(ranges, Revision(after))
            case _:
                raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        found = await self._read(Txn(then=(Range(self._layout.cell_key(group, name)),)))
        return as_cell(found.results[0])

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        """Raises OutcomeUnknown when the answer was lost and the cells were overwritten since, or were written under
        no expected version and do not show it; IncarnationChanged, guarded, while this client may lead nothing."""
        check_name("group", group)
        check_cell_writes(writes, GUARANTEES.cell_bytes_max)
        size = sum(len(write.value or b"") for write in writes)
        if size > STEP_BYTES_MAX:
            raise InvalidInput("writes", f"hold {size} bytes", f"at most {STEP_BYTES_MAX} bytes in one step")
        if claimed is not None and claimed.member.group != group:
            raise InvalidInput("claimed", "is of another group", "pass the claim of the cells' own group")
        if claimed is not None and lease_of(claimed.member.id) is None:
            raise NotFirst(f"{claimed.member.id[:40]!r} is no member of this engine's")
        self._check_open()
        if claimed is not None:
            self._sight.check()
        step = CellStep(self._groups, group, writes, claimed, secrets.token_bytes(WRITER_BYTES))
        unproven = claimed is not None and claimed.member not in self._groups.proven
        try:
            return await settle(step, self._store, self._call_timeout_s)
        except VersionConflict:
            if not unproven or claimed is None or claimed.member not in self._groups.proven:
                raise
        # Not the versions: the member is first, which the comparison could not see.
        return await settle(step, self._store, self._call_timeout_s)

    async def close(self) -> None:
        if self._gateway.closed or os.getpid() != self._pid:
            return  # closed already; or a forked child, where all of it is the parent's
        self._gateway.closed = True
        await self._watches.close()
        await self._gateway.close()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def _submit(self, command: Txn) -> tuple[Result, bool]:
        """Have an idempotent command applied. Also says whether an earlier attempt of it may have been."""
        self._check_open()
        return await until_known(
            lambda left_s: self._store.submit(command, timeout=left_s), self._call_timeout_s
        )

    async def _read(self, query: Txn) -> Result:
        self._check_open()
        return await self._store.read(query, timeout=self._call_timeout_s)

    def _see_incarnation(self, mark: Mark, found: OperationResult) -> None:
        self._sight.see_incarnation(mark, incarnation_of(found))

    def _reference(self, ref: Ref) -> Reference:
        """Raises IncarnationChanged for a session of an etcd that this one has replaced: it is over."""
        reference = Reference.from_bytes(ref)
        if reference.cluster in self._sight.former:
            raise IncarnationChanged("the session was opened at an etcd that was replaced")
        if reference.cluster != self._sight.cluster:
            raise InvalidInput("ref", "belongs to another etcd", "use it where the session was opened")
        return reference

    def _check_open(self) -> None:
        self._check_process()
        if self._gateway.closed:
            raise EngineUnavailable("this engine is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")


def _whole(ttl: float, release_delay: float) -> int:
    total_s = round(ttl + release_delay)
    if total_s < 1 or abs(ttl + release_delay - total_s) > WHOLE_S:
        raise InvalidInput(
            "ttl",
            f"and release_delay make {ttl + release_delay!r} s",
            "an etcd's leases have whole seconds: let both together make some",
        )
    return total_s


def _lease_of(member: Member) -> LeaseId:
    check_name("group", member.group)
    lease = lease_of(member.id)
    if lease is None:
        raise member_gone(member)
    return lease
