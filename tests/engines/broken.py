"""The stranger's engine, broken in one way for each check of the suite, to show that the check can fail."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from incumbent.engines.api import (
    TTL_MAX_S,
    TTL_MIN_S,
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
from incumbent.errors import InvalidInput, MemberGone, NotFirst, SessionGone, VersionConflict
from tests.engines.stranger import GUARANTEES, NS, StrangerEngine, StrangerStore, _Group, _Member, _Session

Store = type[StrangerStore]
Engine = type[StrangerEngine]


@dataclass(frozen=True)
class Fault:
    store: Store = StrangerStore
    engine: Engine = StrangerEngine


FAULTS: dict[str, Fault] = {}


def breaks(*checks: str) -> Callable[[type], type]:
    """The class below must make each of `checks` fail."""

    def register(broken: type) -> type:
        for check in checks:
            assert check not in FAULTS, check
            FAULTS[check] = Fault(
                broken if issubclass(broken, StrangerStore) else StrangerStore,
                broken if issubclass(broken, StrangerEngine) else StrangerEngine,
            )
        return broken

    return register


# --- sessions -----------------------------------------------------------------------------------------------------


@breaks("check_guarantees_are_declared")
class UnknownClock(StrangerEngine):
    @property
    def guarantees(self) -> Guarantees:
        return replace(GUARANTEES, server_clock="sundial")


@breaks("check_open_session_is_idempotent")
class ForgetsRequests(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        return super().open_session(ttl, request_id + secrets.token_hex(8), release_delay)


@breaks("check_a_retried_open_renews")
class FindsWithoutRenewing(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        found = next((s for s in self.sessions.values() if s.request_id == request_id), None)
        return (
            super().open_session(ttl, request_id, release_delay) if found is None else Session(found.ref, ttl)
        )


@breaks("check_ttl_is_granted_exactly")
class WholeSeconds(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        return super().open_session(max(1, math.ceil(ttl)), request_id, release_delay)


@breaks("check_a_ttl_out_of_range_is_refused")
class ClampsTtl(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        return super().open_session(min(max(ttl, TTL_MIN_S), TTL_MAX_S), request_id, release_delay)


@breaks("check_a_bad_release_delay_is_refused")
class MendsDelay(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        good = release_delay if 0 <= release_delay < 1e9 else 0.0
        return super().open_session(ttl, request_id, good)


@breaks("check_a_renewed_session_lives")
class RenewsNothing(StrangerStore):
    def renew(self, ref: Ref) -> None:
        self._session(ref)


@breaks("check_a_session_never_ends_early")
class CountsFromTooEarly(StrangerStore):
    def renew(self, ref: Ref) -> None:
        super().renew(ref)
        self.sessions[ref].renewed_ns -= round(self.sessions[ref].ttl * 0.1e9)


@breaks("check_a_silent_session_ends", "check_a_killed_clients_session_ends")
class NeverExpires(StrangerStore):
    def expire(self) -> None:
        pass


@breaks("check_release_delay_is_waited_after_silence")
class IgnoresDelay(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        return super().open_session(ttl, request_id, 0.0)


@breaks("check_the_holders_ttl_decides")
class TheShortestTtlDecides(StrangerStore):
    def expire(self) -> None:
        shortest = min((s.ttl for s in self.sessions.values()), default=0.0)
        now = self.now_ns()
        for session in list(self.sessions.values()):
            if now >= session.renewed_ns + round((min(session.ttl, shortest) + session.release_delay) * NS):
                self._end(session)


@breaks("check_a_newcomer_ends_nobody_early")
class JudgesByAge(StrangerStore):
    """Who joins ends every session that was opened more than two of its TTLs ago."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened_ns: dict[Ref, int] = {}

    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        session = super().open_session(ttl, request_id, release_delay)
        self.opened_ns.setdefault(session.ref, self.now_ns())
        return session

    def join(self, ref: Ref, name: str, value: bytes) -> Member:
        for session in list(self.sessions.values()):
            if self.now_ns() - self.opened_ns[session.ref] > 2 * session.ttl * NS:
                self._end(session)
        return super().join(ref, name, value)


@breaks("check_a_session_that_is_over_stays_over")
class Resurrects(StrangerStore):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.graves: dict[Ref, _Session] = {}

    def _end(self, session: _Session) -> None:
        self.graves[session.ref] = session
        super()._end(session)

    def renew(self, ref: Ref) -> None:
        with suppress(SessionGone):
            return super().renew(ref)
        self.sessions[ref] = replace(self.graves[ref], renewed_ns=self.now_ns())


@breaks("check_end_session_from_another_process")
class EndsOnlyItsOwn(StrangerEngine):
    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        session = await super().open_session(ttl, request_id, release_delay=release_delay)
        self.own = session.ref
        return session

    async def end_session(self, ref: Ref) -> bool:
        return ref == getattr(self, "own", b"") and await super().end_session(ref)


@breaks("check_a_garbage_ref_is_refused")
class TakesGarbage(StrangerStore):
    def end_session(self, ref: Ref) -> bool:
        return ref in self.sessions and super().end_session(ref)


class LoudSession(Session):
    def __repr__(self) -> str:
        return f"Session({self.ref!r})"


@breaks("check_a_ref_is_small_and_secret")
class PrintsRefs(StrangerStore):
    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        session = super().open_session(ttl, request_id, release_delay)
        return LoudSession(session.ref, session.ttl)


@breaks("check_all_groups_of_a_session_end_together")
class EndsGroupByGroup(StrangerEngine):
    async def end_session(self, ref: Ref) -> bool:
        for group in self.store.groups.values():
            group.members = [m for m in group.members if m.session != ref]
            for _ in range(5):
                await asyncio.sleep(0)
        return await super().end_session(ref)


@breaks("check_close_ends_no_session")
class EndsOnClose(StrangerEngine):
    async def close(self) -> None:
        for session in list(self.store.sessions.values()):
            self.store._end(session)
        await super().close()


# --- members ------------------------------------------------------------------------------------------------------


@breaks("check_join_is_idempotent")
class JoinsAgain(StrangerStore):
    def join(self, ref: Ref, name: str, value: bytes) -> Member:
        self._session(ref)
        return _add(self, ref, name, value)


def _add(store: StrangerStore, ref: Ref, name: str, value: bytes, at: int | None = None) -> Member:
    group = store._group(name)
    revision = store._changed(group)
    mine = _Member(ref, f"member-{revision}", revision, value)
    group.members.insert(len(group.members) if at is None else at, mine)
    return Member(name, mine.id, revision)


@breaks("check_concurrent_joins_of_a_session_are_one")
class LooksThenJoins(StrangerEngine):
    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        there = any(m.session == session.ref for m in self.store._group(group).members)
        await asyncio.sleep(0)
        if there:
            return await super().join(session, group, request_id, value)
        return _add(self.store, session.ref, group, value)


@breaks("check_members_are_ordered_by_revision")
class ListsBackwards(StrangerStore):
    def roster(self, name: str) -> Roster:
        roster = super().roster(name)
        return replace(roster, members=roster.members[::-1])


@breaks("check_an_empty_group")
class TokenOfNobody(StrangerStore):
    def roster(self, name: str) -> Roster:
        roster = super().roster(name)
        return replace(roster, token=roster.token or 0)


@breaks("check_rosters_are_fresh")
class CachesRosters(StrangerEngine):
    async def roster(self, group: str) -> Roster:
        self.cache: Roster
        if not hasattr(self, "cache"):
            self.cache = await super().roster(group)
        return self.cache


@breaks("check_update_keeps_the_place")
class UpdateGoesBehind(StrangerStore):
    def update(self, member: Member, value: bytes) -> None:
        super().update(member, value)
        group, mine = self._member(member)
        group.members.remove(mine)
        group.members.append(mine)


@breaks("check_an_updated_member_leaves_with_its_session")
class UpdateCutsTheBond(StrangerStore):
    """As an engine does whose update writes the member's key anew and forgets its lease."""

    def update(self, member: Member, value: bytes) -> None:
        super().update(member, value)
        self.unbound = {**getattr(self, "unbound", {}), member: value}

    def roster(self, name: str) -> Roster:
        roster = super().roster(name)
        listed = {entry.id for entry in roster.members}
        lost = [m for m in getattr(self, "unbound", {}) if m.group == name and m.id not in listed]
        more = tuple(Entry(m.id, m.revision, self.unbound[m], ours=True) for m in lost)
        return replace(roster, members=roster.members + more)


@breaks("check_leave_compares_the_revision")
class LeavesBySession(StrangerEngine):
    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        self.ref = session.ref
        return await super().join(session, group, request_id, value)

    async def leave(self, member: Member) -> None:
        group = self.store._group(member.group)
        group.members = [m for m in group.members if m.session != self.ref]


@breaks("check_remove")
class RemovesEverybody(StrangerStore):
    def remove(self, name: str, member_id: str, revision: int) -> bool:
        super().remove(name, member_id, revision)
        return True


@breaks("check_a_rejoin_goes_behind", "check_fifo")
class LastComesFirst(StrangerStore):
    def join(self, ref: Ref, name: str, value: bytes) -> Member:
        self._session(ref)
        return _add(self, ref, name, value, at=0)


@breaks("check_member_values")
class CutsValues(StrangerStore):
    def join(self, ref: Ref, name: str, value: bytes) -> Member:
        return super().join(ref, name, value[:1000])


@breaks("check_names_never_interact")
class SlashesAreFolders(StrangerStore):
    def _group(self, name: str) -> _Group:
        return super()._group(name.rstrip("/"))


@breaks("check_bad_names_are_refused")
class AnyNameWillDo(StrangerStore):
    def _group(self, name: str) -> _Group:
        return self.groups.setdefault(name, _Group())


@breaks("check_calls_can_be_cancelled")
class JoinsInTwoSteps(StrangerEngine):
    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        draft = _add(self.store, session.ref + b"draft", group, value)
        await asyncio.sleep(0)
        self.store.remove(group, draft.id, draft.revision)
        return await super().join(session, group, request_id, value)


# --- claims -------------------------------------------------------------------------------------------------------


@breaks("check_only_the_first_claims", "check_never_two_first")
class TwoLead(StrangerStore):
    def claim(self, member: Member) -> Claimed | Waiting:
        group, mine = self._member(member)
        return Claimed(member, mine.revision) if group.members.index(mine) < 2 else super().claim(member)


@breaks("check_a_claim_brings_a_cell")
class BringsTheCellOfBefore(StrangerStore):
    """As it was when it was asked for the last time."""

    seen = Cell(None, 0)

    def claim_with(self, member: Member, cell: str | None) -> Claimed | Waiting:
        answer = self.claim(member)
        if cell is None or isinstance(answer, Waiting):
            return answer
        seen, self.seen = self.seen, self.read_cell(member.group, cell)
        return replace(answer, cell=seen)


@breaks("check_a_stand_is_join_and_claim")
class StandsAnew(StrangerStore):
    def stand(self, ref: Ref, name: str, value: bytes, cell: str | None) -> tuple[Member, Claimed | Waiting]:
        mine = self.join(ref, name, value)
        self.remove(name, mine.id, mine.revision)
        return super().stand(ref, name, value, cell)


@breaks("check_those_who_stand_at_once")
class LooksThenStands(StrangerEngine):
    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        alone = not (await self.roster(group)).members
        member, answer = await super().stand(session, group, request_id, value, cell)
        return member, Claimed(member, member.revision) if alone else answer


@breaks("check_waiting_leaves_no_gap", "check_a_rosters_cursor_leaves_no_gap")
class WatchesFromNow(StrangerEngine):
    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        async for _ in super().watch(group, self.store.revision):
            yield


@breaks("check_expiry_reaches_who_waits")
class ExpiresInSilence(StrangerStore):
    def _end(self, session: _Session) -> None:
        del self.sessions[session.ref]
        for group in self.groups.values():
            group.members = [m for m in group.members if m.session != session.ref]


@breaks("check_a_claim_after_expiry_finds_nothing")
class GhostsStay(StrangerStore):
    def _end(self, session: _Session) -> None:
        del self.sessions[session.ref]


@breaks("check_tokens_rise")
class TokensPerGeneration(StrangerStore):
    def claim(self, member: Member) -> Claimed | Waiting:
        answer = super().claim(member)
        return replace(answer, token=1) if isinstance(answer, Claimed) else answer


@breaks("check_a_roster_shows_the_leaders_token")
class HidesTheToken(StrangerStore):
    def roster(self, name: str) -> Roster:
        return replace(super().roster(name), token=None)


@breaks("check_tokens_rise_over_a_restart")
class ForgetsEverything(StrangerStore):
    def lose_watches(self) -> None:
        super().lose_watches()
        self.revision = 0
        self.groups.clear()


# --- watches ------------------------------------------------------------------------------------------------------


@breaks("check_a_watch_wakes_for_members")
class UpdatesInSilence(StrangerStore):
    def update(self, member: Member, value: bytes) -> None:
        self._member(member)[1].value = value


@breaks("check_a_watch_wakes_for_cells")
class CellsInSilence(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        group = self._group(name)
        changed_at = group.changed_at
        cells = super().write_cells(name, writes, claimed)
        group.changed_at = changed_at
        return cells


@breaks("check_a_closed_client_ends_its_watches")
class CloseForgetsWatches(StrangerEngine):
    async def close(self) -> None:
        pass


@breaks("check_many_watches_wake")
class OneWatchEach(StrangerEngine):
    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        if getattr(self, "watching", False):
            await asyncio.Event().wait()
        self.watching = True
        async for _ in super().watch(group, after):
            yield


# --- cells --------------------------------------------------------------------------------------------------------


@breaks("check_cell_versions_rise")
class SameValueSameVersion(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        old = tuple(self.read_cell(name, write.name) for write in writes)
        if [cell.value for cell in old] == [write.value for write in writes]:
            return old
        return super().write_cells(name, writes, claimed)


@breaks("check_a_cell_is_written_under_its_version")
class LastWriteWins(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        return super().write_cells(name, [replace(w, expected_version=None) for w in writes], claimed)


@breaks("check_cells_are_written_all_or_nothing")
class OneByOne(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        return tuple(super(OneByOne, self).write_cells(name, [write], claimed)[0] for write in writes)


@breaks("check_concurrent_cell_writes_lose_nothing")
class ComparesThenWrites(StrangerEngine):
    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        for write in writes:
            if write.expected_version != self.store.read_cell(group, write.name).version:
                raise VersionConflict(write.name)
        await asyncio.sleep(0)
        return await super().write_cells(group, [replace(w, expected_version=None) for w in writes], claimed)


@breaks("check_a_guard_passes_only_the_first")
class AliveIsEnough(StrangerStore):
    def _check_first(self, claimed: Claimed) -> None:
        try:
            self._member(claimed.member)
        except MemberGone as gone:
            raise NotFirst("gone") from gone


@breaks("check_a_guard_refuses_after_expiry")
class GuardsNothing(StrangerStore):
    def _check_first(self, claimed: Claimed) -> None:
        pass


@breaks("check_a_guard_is_atomic_with_the_write")
class GuardsThenWrites(StrangerEngine):
    def __init__(self, store: StrangerStore) -> None:
        super().__init__(store)
        self.slow = not hasattr(
            store, "slow"
        )  # the first client is, so that its write lands after the heir's
        store.slow = True  # type: ignore[attr-defined]

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        if claimed is not None:
            self.store._check_first(claimed)
        for _ in range(40 if self.slow else 0):
            await asyncio.sleep(0)
        return await super().write_cells(group, writes, None)


@breaks("check_cells_outlive_members")
class CellsDieWithMembers(StrangerStore):
    def _end(self, session: _Session) -> None:
        super()._end(session)
        for group in self.groups.values():
            if not group.members:
                group.cells.clear()


@breaks("check_cell_sizes")
class SmallCells(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        if any(len(write.value or b"") > 100_000 for write in writes):
            raise InvalidInput("value", "is too large", "at most 100000 bytes")
        return super().write_cells(name, writes, claimed)


@breaks("check_a_cell_named_twice_is_refused")
class TheLastOneCounts(StrangerStore):
    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        return super().write_cells(name, list({w.name: w for w in writes}.values()), claimed)
