"""Every operation as work in one transaction. How locks are ordered: see `schema`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from incumbent.engines.api import Cell, CellWrite, Claimed, Entry, Member, Roster
from incumbent.engines.postgres.pool import Beat, Head, Transaction
from incumbent.engines.postgres.sightings import Server, Sighting
from incumbent.errors import (
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotFirst,
    SessionGone,
    VersionConflict,
    invariant,
)
from incumbent.ids import make_token

COUNTER_BITS: Final = 40
TIMELINE_MAX: Final = (1 << 16) - 1
AHEAD_MAX: Final = 32
"""Of those in front, a claim looks at so many at the head of the queue and so many right before the own place."""


_NEAR: Final = """
SELECT revision, id, beats, ttl_ns + delay_ns, incarnation FROM (
    (SELECT * FROM member WHERE team = %s AND revision <= %s ORDER BY revision LIMIT %s)
    UNION
    (SELECT * FROM member WHERE team = %s AND revision <= %s ORDER BY revision DESC LIMIT %s)
) AS near JOIN session ON id = session ORDER BY revision
"""


@dataclass(frozen=True, slots=True)
class Queued:
    """Others are in front: the one right before us, all that were looked at, and what a watch goes on from."""

    behind: str
    ahead: tuple[Beat, ...]
    changes: int


def server_of(head: Head) -> Server:
    return Server(head.uuid, head.timeline, head.started)


# --- sessions ---------------------------------------------------------------------------------------------------------


async def open_session(tx: Transaction, session: bytes, ttl_ns: int, delay_ns: int) -> None:
    row = await tx.find(
        "INSERT INTO session AS s VALUES (%s, %s, %s, 1, %s) "
        "ON CONFLICT (id) DO UPDATE SET beats = s.beats + 1 RETURNING beats, ttl_ns, delay_ns, incarnation",
        session, ttl_ns, delay_ns, tx.head.incarnation,
    )  # fmt: skip
    assert row is not None
    beats, found_ttl_ns, found_delay_ns, incarnation = row
    if found_ttl_ns != ttl_ns:
        raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
    _check_incarnation(tx, incarnation)
    tx.seen.append(Beat(session, beats, ttl_ns + found_delay_ns))


async def renew(tx: Transaction, session: bytes, beats_before: int, server_before: Server | None) -> None:
    """`…_before`: what was last seen of it, by this process."""
    row = await tx.find(
        "UPDATE session SET beats = beats + 1 WHERE id = %s RETURNING beats, ttl_ns + delay_ns, incarnation",
        session,
    )
    if row is None:
        if server_before is not None and server_before.timeline != tx.head.timeline:
            raise IncarnationChanged("the server that was promoted does not know this session")
        raise SessionGone("the session has ended")
    beats, lasts_ns, incarnation = row
    _check_incarnation(tx, incarnation)
    if beats <= beats_before:
        raise IncarnationChanged("the server lacks renewals that it had acknowledged")
    tx.seen.append(Beat(session, beats, lasts_ns))


async def end_session(tx: Transaction, session: bytes) -> bool:
    return bool(await _end(tx, [session], {}))


async def bury(tx: Transaction, silent: Iterable[Sighting]) -> None:
    """End those whose counter still stands where it was seen, by the same run of the same server."""
    here = server_of(tx.head)
    seen = {sighting.session: sighting.beats for sighting in silent if sighting.server == here}
    if seen:
        await _end(tx, list(seen), seen)


async def _end(tx: Transaction, sessions: Sequence[bytes], beats: dict[bytes, int]) -> list[bytes]:
    """End those that are there and, where `beats` names a counter, have that one. All their members leave in this step."""
    rows = await tx.all(
        "SELECT id, beats FROM session WHERE id = ANY(%s) ORDER BY id FOR UPDATE", list(sessions)
    )
    over = [bytes(session) for session, found in rows if beats.get(bytes(session), found) == found]
    if over:
        # Nobody joins with them any more: that would have to lock them too.
        teams = await tx.all("SELECT DISTINCT team FROM member WHERE session = ANY(%s) ORDER BY team", over)
        await tx.all(
            "SELECT FROM team WHERE name = ANY(%s) ORDER BY name FOR UPDATE", [team for (team,) in teams]
        )
        await tx.all("DELETE FROM session WHERE id = ANY(%s)", over)
        for (team,) in teams:
            await _change(tx, team)
    return over


def _check_incarnation(tx: Transaction, incarnation: int) -> None:
    if incarnation != tx.head.incarnation:
        raise IncarnationChanged("the incarnation was raised since this session was opened")


# --- members ----------------------------------------------------------------------------------------------------------


async def join(tx: Transaction, session: bytes, group: str, value: bytes) -> Member:
    found = await tx.find("SELECT incarnation FROM session WHERE id = %s FOR KEY SHARE", session)
    if found is None:
        raise SessionGone("the session has ended")
    _check_incarnation(tx, found[0])
    await tx.all("INSERT INTO team (name) VALUES (%s) ON CONFLICT DO NOTHING", group)
    await _lock(tx, group)
    row = await tx.find("SELECT revision FROM member WHERE session = %s AND team = %s", session, group)
    if row is None:
        row = await tx.find("UPDATE team SET joins = joins + 1 WHERE name = %s RETURNING joins", group)
        assert row is not None
        await tx.all("INSERT INTO member VALUES (%s, %s, %s, %s)", group, row[0], session, value)
        await _change(tx, group)
    return _member(group, row[0])


async def claim(tx: Transaction, member: Member) -> Claimed | Queued:
    """One statement, so one state: every member that came before ours is in it, since they were committed in that order."""
    group, revision = member.group, member.revision
    changes = await _changes(tx, group)
    rows = await tx.all(
        _NEAR, group, revision, AHEAD_MAX, group, revision, AHEAD_MAX + 1
    )  # fmt: skip
    if not rows or member != _member(group, rows[-1][0]):
        raise MemberGone(f"member {member.id} has left, was removed, or its session ended")
    _check_incarnation(tx, rows[-1][4])
    ahead = tuple(Beat(bytes(session), beats, lasts) for _, session, beats, lasts, _ in rows[:-1])
    tx.seen += ahead
    if not ahead:
        return Claimed(member, _token(tx.head, revision))
    return Queued(_member(group, rows[-2][0]).id, ahead, changes)


async def update(tx: Transaction, member: Member, value: bytes) -> None:
    await _lock(tx, member.group)
    row = await tx.find(
        "UPDATE member SET value = %s WHERE team = %s AND revision = %s RETURNING revision",
        value, member.group, member.revision,
    )  # fmt: skip
    if row is None or member != _member(member.group, row[0]):
        raise MemberGone(f"member {member.id} has left, was removed, or its session ended")
    await _change(tx, member.group)


async def remove(tx: Transaction, member: Member) -> bool:
    if member != _member(member.group, member.revision):
        return False
    await _lock(tx, member.group)
    row = await tx.find(
        "DELETE FROM member WHERE team = %s AND revision = %s RETURNING revision",
        member.group,
        member.revision,
    )
    if row is not None:
        await _change(tx, member.group)
    return row is not None


async def roster(tx: Transaction, group: str) -> Roster:
    changes = await _changes(tx, group)
    rows = await tx.all(
        "SELECT m.revision, m.value, s.id, s.beats, s.ttl_ns + s.delay_ns, s.incarnation FROM member m "
        "JOIN session s ON s.id = m.session WHERE m.team = %s ORDER BY m.revision",
        group,
    )
    tx.seen += [Beat(bytes(session), beats, lasts) for _, _, session, beats, lasts, _ in rows]
    members = tuple(Entry(_member(group, row[0]).id, row[0], bytes(row[1]), ours=True) for row in rows)
    may_claim = bool(rows) and rows[0][5] == tx.head.incarnation
    return Roster(changes, members, _token(tx.head, rows[0][0]) if may_claim else None)


async def peek(tx: Transaction, group: str) -> int:
    """For a watch: how much has happened in that group."""
    return await _changes(tx, group)


# --- cells ------------------------------------------------------------------------------------------------------------


async def read_cell(tx: Transaction, group: str, name: str) -> Cell:
    row = await tx.find("SELECT value, version FROM cell WHERE team = %s AND name = %s", group, name)
    return _cell(row)


async def write_cells(
    tx: Transaction, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
) -> tuple[Cell, ...]:
    await tx.all("INSERT INTO team (name) VALUES (%s) ON CONFLICT DO NOTHING", group)
    await _lock(tx, group)
    if claimed is not None:
        await _check_first(tx, group, claimed.member)
    names = [write.name for write in writes]
    rows = await tx.all("SELECT name, version FROM cell WHERE team = %s AND name = ANY(%s)", group, names)
    found: dict[str, int] = dict(rows)
    for write in writes:
        version = found.get(write.name, 0)
        if write.expected_version not in (None, version):
            raise VersionConflict(f"cell {write.name!r} has version {version}, not {write.expected_version}")
    version = await _change(tx, group)
    for write in writes:
        await tx.all(
            "INSERT INTO cell VALUES (%s, %s, %s, %s) ON CONFLICT (team, name) "
            "DO UPDATE SET value = excluded.value, version = excluded.version",
            group, write.name, write.value, version,
        )  # fmt: skip
    return tuple(Cell(write.value, version) for write in writes)


async def _check_first(tx: Transaction, group: str, member: Member) -> None:
    """Under the group's lock. The member's own row is locked with it: nobody ends the session without that lock."""
    row = await tx.find(
        "SELECT m.revision, s.incarnation FROM member m JOIN session s ON s.id = m.session "
        "WHERE m.team = %s ORDER BY m.revision LIMIT 1",
        group,
    )
    if row is None or member != _member(group, row[0]):
        raise NotFirst(f"member {member.id} is not the first of its group")
    _check_incarnation(tx, row[1])


# --- both -------------------------------------------------------------------------------------------------------------


async def _lock(tx: Transaction, group: str) -> None:
    await tx.all("SELECT FROM team WHERE name = %s FOR UPDATE", group)


async def _changes(tx: Transaction, group: str) -> int:
    row = await tx.find("SELECT changes FROM team WHERE name = %s", group)
    tx.changes[group] = 0 if row is None else row[0]
    return tx.changes[group]


async def _change(tx: Transaction, group: str) -> int:
    """Under the group's lock: raise what watches go by, and wake them at the commit."""
    row = await tx.find(
        "UPDATE team SET changes = changes + 1 WHERE name = %s "
        "RETURNING changes, pg_notify(current_schema(), name)",
        group,
    )
    invariant(row is not None, "a group that changes has a row", group=group)
    assert row is not None
    tx.changes[group] = row[0]
    return tx.changes[group]


def _token(head: Head, revision: int) -> int:
    invariant(0 < head.timeline <= TIMELINE_MAX, "the timeline fits 16 bits", timeline=head.timeline)
    return make_token(head.incarnation, head.timeline << COUNTER_BITS | revision)


def _member(group: str, revision: int) -> Member:
    return Member(group, f"{revision:x}", revision)


def _cell(row: tuple[Any, ...] | None) -> Cell:
    if row is None:
        return Cell(None, 0)
    return Cell(None if row[0] is None else bytes(row[0]), row[1])
