"""Every operation as a question to the database, and what its reply means. The other half is `functions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import Cell, CellWrite, Claimed, Entry, Member, Roster
from incumbent.engines.postgres.memory import Need
from incumbent.engines.postgres.pool import Beat, Head, Question, Reply
from incumbent.engines.postgres.sightings import Server, Sighting
from incumbent.errors import (
    EngineError,
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotFirst,
    SessionGone,
    VersionConflict,
    invariant,
)
from incumbent.ids import TOKEN_INCARNATION_MAX, make_token

COUNTER_BITS: Final = 40
TIMELINE_MAX: Final = (1 << 16) - 1
AHEAD_MAX: Final = 32
"""Of those in front, a claim looks at so many at the head of the queue and so many right before the own place."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Others are in front: the one right before us, all that were looked at, and what a watch goes on from."""

    behind: str
    ahead: tuple[Beat, ...]
    changes: int


def server_of(head: Head) -> Server:
    return Server(head.uuid, head.timeline, head.started)


# --- sessions ---------------------------------------------------------------------------------------------------------


def open_session(session: bytes, ttl_ns: int, delay_ns: int) -> Question[None]:
    def read(reply: Reply) -> None:
        beats, found_ttl_ns, found_delay_ns, incarnation = map(_number, reply.found)
        if found_ttl_ns != ttl_ns:
            raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
        _check_incarnation(reply, incarnation)
        reply.seen.append(Beat(session, beats, ttl_ns + found_delay_ns))

    return Question("open_session", (session, ttl_ns, delay_ns), read)


def renew(session: bytes, beats_before: int, server_before: Server | None, need: Need) -> Question[None]:
    """`…_before`: what was last seen of it, by this process."""

    def read(reply: Reply) -> None:
        if reply.said == "session":
            if server_before is not None and server_before.timeline != reply.head.timeline:
                raise IncarnationChanged("the server that was promoted does not know this session")
            raise SessionGone("the session has ended")
        _check_said(reply)
        beats, lasts_ns = map(_number, reply.found)
        if beats <= beats_before:
            raise IncarnationChanged("the server lacks renewals that it had acknowledged")
        reply.seen.append(Beat(session, beats, lasts_ns))

    return Question("renew", (session, *need.values), read)


def end_session(session: bytes) -> Question[bool]:
    return Question("end_sessions", ([session], [None], [None]), lambda reply: _number(reply.found[0]) > 0)


def bury(silent: Sequence[Sighting]) -> Question[bool]:
    """End those whose counter still stands where it was seen, by the same run of the same server."""
    sessions = [sighting.session for sighting in silent]
    beats = [sighting.beats for sighting in silent]
    servers = [f"{seen.server.uuid} {seen.server.timeline} {seen.server.started}" for seen in silent]
    return Question("end_sessions", (sessions, beats, servers), lambda reply: _number(reply.found[0]) > 0)


# --- members ----------------------------------------------------------------------------------------------------------


def join(session: bytes, group: str, value: bytes) -> Question[Member]:
    def read(reply: Reply) -> Member:
        _check_said(reply)
        reply.changes[group] = _number(reply.found[0])
        return _member(group, _number(reply.found[1]))

    return Question("stand", (session, group, value, None, 0), read)


def stand(
    session: bytes, group: str, value: bytes, cell: str | None
) -> Question[tuple[Member, Claimed | Queued]]:
    def read(reply: Reply) -> tuple[Member, Claimed | Queued]:
        _check_said(reply)
        member = _member(group, _number(reply.found[1]))
        reply.changes[group] = _number(reply.found[0])
        reply.before[group] = _number(reply.found[-1])
        return member, _claimed(reply, member, cell)

    return Question("stand", (session, group, value, cell, AHEAD_MAX), read)


def claim(member: Member, cell: str | None) -> Question[Claimed | Queued]:
    def read(reply: Reply) -> Claimed | Queued:
        reply.changes[member.group] = reply.before[member.group] = _number(reply.found[0])
        if reply.said or not is_named(member):
            raise member_gone(member)
        return _claimed(reply, member, cell)

    return Question("claim", (member.group, member.revision, cell, AHEAD_MAX), read, writes=False)


def _claimed(reply: Reply, member: Member, cell: str | None) -> Claimed | Queued:
    changes, _, incarnation, ahead, value, version = reply.found[:6]
    _check_incarnation(reply, _number(incarnation))
    beats = tuple(_beat(words) for words in _words(ahead))
    reply.seen.extend(beat for _, beat in beats)
    if not beats:
        beside = None if cell is None else _cell(value, version)
        return Claimed(member, _token(reply.head, member.revision), beside)
    behind, _ = beats[-1]
    return Queued(_member(member.group, behind).id, tuple(beat for _, beat in beats), _number(changes))


def update(member: Member, value: bytes) -> Question[None]:
    def read(reply: Reply) -> None:
        if reply.said:
            raise member_gone(member)
        reply.changes[member.group] = _number(reply.found[0])

    return Question("update", (member.group, member.revision, value), read)


def remove(member: Member) -> Question[bool]:
    def read(reply: Reply) -> bool:
        if not reply.said:
            reply.changes[member.group] = _number(reply.found[0])
        return not reply.said

    return Question("remove", (member.group, member.revision), read)


def roster(group: str) -> Question[Roster]:
    def read(reply: Reply) -> Roster:
        changes = reply.changes[group] = _number(reply.found[0])
        members = list[Entry]()
        may_claim = False
        for words in _words(reply.found[1]):
            revision, beat = _beat(words)
            incarnation, value = int(words[4]), bytes.fromhex(words[5])
            may_claim = may_claim if members else incarnation == reply.head.incarnation
            reply.seen.append(beat)
            members.append(Entry(_member(group, revision).id, revision, value, ours=True))
        token = _token(reply.head, members[0].order) if may_claim else None
        return Roster(changes, tuple(members), token)

    return Question("roster", (group,), read, writes=False)


def peek(group: str) -> Question[int]:
    """For a watch: how much has happened in that group."""

    def read(reply: Reply) -> int:
        reply.changes[group] = _number(reply.found[0])
        return reply.changes[group]

    return Question("peek", (group,), read, writes=False)


# --- cells ------------------------------------------------------------------------------------------------------------


def read_cell(group: str, name: str) -> Question[Cell]:
    return Question("read_cell", (group, name), lambda reply: _cell(*reply.found), writes=False)


def write_cells(
    group: str, writes: Sequence[CellWrite], claimed: Claimed | None, need: Need, changes_before: int
) -> Question[tuple[Cell, ...]]:
    """`need` and `changes_before`, what is known to have happened in the group, are the claim's."""

    def read(reply: Reply) -> tuple[Cell, ...]:
        changes, name, version = reply.found
        if reply.said == "lacking":
            reply.before[group] = _number(changes)
            return ()  # whoever judges will refuse it
        if reply.said == "first":
            assert claimed is not None
            raise not_first(claimed.member)
        if reply.said == "version":
            assert name is not None
            raise VersionConflict(f"cell {name.decode()!r} has version {_number(version)}, not as expected")
        _check_said(reply)
        reply.changes[group] = _number(changes)
        return tuple(Cell(write.value, _number(changes)) for write in writes)

    columns = (
        [write.name for write in writes],
        [write.value for write in writes],
        [write.expected_version for write in writes],
    )
    first = None if claimed is None else claimed.member.revision
    return Question("write_cells", (group, *columns, first, changes_before, *need.values), read)


# --- the operator -----------------------------------------------------------------------------------------------------


def bump() -> Question[int]:
    def read(reply: Reply) -> int:
        if reply.said:
            raise EngineError(
                f"the incarnation is {reply.head.incarnation} already, and there is no higher one; use another schema"
            )
        return _number(reply.found[0])

    return Question("bump", (TOKEN_INCARNATION_MAX,), read)


# --- what is said -----------------------------------------------------------------------------------------------------


def is_named(member: Member) -> bool:
    """It has the id that goes with its revision."""
    return member == _member(member.group, member.revision)


def member_gone(member: Member) -> MemberGone:
    return MemberGone(f"member {member.id} has left, was removed, or its session ended")


def not_first(member: Member) -> NotFirst:
    return NotFirst(f"member {member.id} is not the first of its group")


def _check_said(reply: Reply) -> None:
    match reply.said:
        case "":
            pass
        case "session":
            raise SessionGone("the session has ended")
        case "member":
            raise MemberGone("the member was removed while it stood")
        case "incarnation":
            raise IncarnationChanged("the incarnation was raised since this session was opened")
        case _:
            raise IncarnationChanged("the server went back")


def _check_incarnation(reply: Reply, incarnation: int) -> None:
    if incarnation != reply.head.incarnation:
        raise IncarnationChanged("the incarnation was raised since this session was opened")


def _number(text: bytes | None) -> int:
    """A counter of what is not there has not begun."""
    return 0 if text is None else int(text)


def _words(text: bytes | None) -> list[list[str]]:
    """Of each of the members that came in one text."""
    return [] if text is None else [words.split(",") for words in text.decode().split(" ")]


def _beat(words: Sequence[str]) -> tuple[int, Beat]:
    revision, session, beats, lasts_ns, *_ = words
    return int(revision), Beat(bytes.fromhex(session), int(beats), int(lasts_ns))


def _cell(value: bytes | None, version: bytes | None) -> Cell:
    return Cell(None if value is None else bytes.fromhex(value.decode()), _number(version))


def _token(head: Head, revision: int) -> int:
    invariant(0 < head.timeline <= TIMELINE_MAX, "the timeline fits 16 bits", timeline=head.timeline)
    return make_token(head.incarnation, head.timeline << COUNTER_BITS | revision)


def _member(group: str, revision: int) -> Member:
    return Member(group, f"{revision:x}", revision)
