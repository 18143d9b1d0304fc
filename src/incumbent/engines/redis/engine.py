"""The Redis engine: sends each operation as a script and says what its answer means."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NoReturn

from incumbent.engines.api import (
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
from incumbent.engines.history import History, Position
from incumbent.engines.inputs import (
    check_beside,
    check_cell_writes,
    check_member_value,
    check_name,
    check_release_delay,
    check_request_id,
    check_ttl,
)
from incumbent.engines.redis import scripts
from incumbent.engines.redis.guarantees import CELL_BYTES_MAX, guarantees
from incumbent.engines.redis.pool import LINKS_MAX, Head, Pool, Word
from incumbent.engines.redis.scripts import Script
from incumbent.engines.redis.settings import Settings
from incumbent.engines.redis.wakeups import wakeups
from incumbent.engines.reference import Reference, check_url, session_id
from incumbent.errors import (
    EngineError,
    IncarnationChanged,
    IncumbentError,
    InvalidInput,
    MemberGone,
    NotFirst,
    SessionGone,
    Unsupported,
    VersionConflict,
    WatchLost,
)
from incumbent.ids import make_token

SCHEME: Final = "redis"
EXPIRED_S: Final = 0.002
"""A session is over when its time is not only reached but passed; the server counts milliseconds."""


class RedisEngine:
    """One process's engine. Bound to the event loop that opened it, and to this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls = Pool(settings, LINKS_MAX)
        self._beats = Pool(settings, 1)  # a renewal waits for no other call
        self._wakeups = wakeups(settings)
        self._history = History()

    @classmethod
    async def open(cls, settings: Settings) -> RedisEngine:
        check_url(settings.url)
        settings.context()  # its files can be read
        engine = cls(settings)
        try:
            head, _ = await engine._calls.run(scripts.HELLO, reads=True)
            if head.format != scripts.FORMAT:
                raise Unsupported(
                    f"url: the namespace {settings.namespace} has format {head.format}, this version reads "
                    f"{scripts.FORMAT}; use one version everywhere"
                )
        except BaseException:
            await engine.close()
            raise
        engine._history.learn(head.uuid, _position(head))
        return engine

    @property
    def guarantees(self) -> Guarantees:
        return guarantees(advisory=self._settings.advisory)

    # --- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        check_ttl(ttl)
        check_release_delay(release_delay)
        session = session_id(check_request_id(request_id))
        lasts_ms = math.ceil((ttl + release_delay) * 1000)
        _, (said, *_) = await self._run(scripts.OPEN, session.hex(), repr(ttl), lasts_ms)
        if said == b"ttl":
            raise InvalidInput("request_id", "opened a session with another ttl", "use a fresh one")
        _check(said)
        return Session(Reference(SCHEME, session, self._settings.url).to_bytes(), ttl)

    async def renew(self, session: Session) -> None:
        own = Reference.from_bytes(session.ref, SCHEME).session
        _, (said, *_) = await self._run(scripts.RENEW, own.hex(), judged=True, pool=self._beats)
        _check(said)

    async def end_session(self, ref: Ref) -> bool:
        own = Reference.from_bytes(ref, SCHEME).session
        _, (ended, *_) = await self._run(scripts.END, own.hex())
        return bool(ended)

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        own = Reference.from_bytes(session.ref, SCHEME).session
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        _, (said, *rest) = await self._run(scripts.JOIN, own.hex(), group, value)
        _check(said)
        return _member(group, int(rest[0]))

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        _check_id(member)
        head, answer = await self._run(
            scripts.CLAIM, member.group, member.revision, *_beside(cell), judged=True, reads=True
        )
        return _stands(member, head, answer)

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        own = Reference.from_bytes(session.ref, SCHEME).session
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        head, (said, *rest) = await self._run(
            scripts.STAND, own.hex(), group, value, *_beside(cell), judged=True
        )
        _check(said)
        member = _member(group, int(rest[0]))
        return member, _stands(member, head, rest[1:])

    async def update(self, member: Member, value: bytes) -> None:
        check_member_value(value)
        _check_id(member)
        _, (said, *_) = await self._run(scripts.UPDATE, member.group, member.revision, value)
        if said != b"ok":
            _refuse(said, member)

    async def leave(self, member: Member) -> None:
        await self.remove(member.group, member.id, member.revision)

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        check_name("group", group)
        if revision <= 0 or id != _member(group, revision).id:
            return False
        _, (removed, *_) = await self._run(scripts.REMOVE, group, revision)
        return bool(removed)

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        head, (changes, may_claim, found) = await self._run(scripts.ROSTER, group, reads=True)
        revisions = [int(text) for text in found[::2]]
        members = tuple(
            Entry(_member(group, revision).id, revision, value, ours=True)
            for revision, value in zip(revisions, found[1::2], strict=True)
        )
        token = make_token(head.incarnation, revisions[0]) if may_claim else None
        return Roster(int(changes), members, token)

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        _, beside = await self._run(scripts.READ, group, name, reads=True)
        return _cell(*beside)

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        check_name("group", group)
        check_cell_writes(writes, CELL_BYTES_MAX)
        words: list[Word] = []
        for write in writes:
            expected = "" if write.expected_version is None else write.expected_version
            words += [write.name, expected, "0" if write.value is None else "1", write.value or b""]
        guard: Word = ""
        if claimed is not None:
            _check_id(claimed.member, NotFirst)
            guard = claimed.member.revision
        _, (said, *rest) = await self._run(scripts.WRITE, group, guard, *words, judged=claimed is not None)
        match said:
            case b"ok":
                return tuple(Cell(write.value, int(rest[0])) for write in writes)
            case b"conflict":
                name, version = (field.decode() for field in rest)
                raise VersionConflict(f"cell {name!r} has version {version}, and another was expected")
            case b"first":
                raise NotFirst("the member is not the first of its group")
        _check(said)
        raise EngineError(f"an answer that no script gives: {said!r}")

    # --- watching -------------------------------------------------------------------------------------------------

    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        """Wakes by message, and looks when the first member's session would end."""
        check_name("group", group)
        if not isinstance(after, int):
            raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")
        seen, losses = after, self._wakeups.losses
        await self._wakeups.prepare()
        while True:
            news = self._wakeups.news(group)  # taken before looking: what changes from here on sets it
            try:
                _, (text, left_ms) = await self._run(scripts.PEEK, group, reads=True)
            except IncumbentError as error:
                raise WatchLost(f"the watch cannot go on: {error}") from error
            changes = int(text)
            if changes < seen:
                raise WatchLost("the server lacks changes that were seen")
            if changes > seen:
                seen = changes
                yield
            elif left_ms >= 0:
                await self._wakeups.wait(news, losses, left_ms / 1000 + EXPIRED_S)
            else:
                await self._wakeups.wait(news, losses)

    async def close(self) -> None:
        await self._wakeups.close()
        await self._calls.close()
        await self._beats.close()

    # --- scripts --------------------------------------------------------------------------------------------------

    async def _run(
        self,
        script: Script,
        *arguments: Word,
        judged: bool = False,
        reads: bool = False,
        pool: Pool | None = None,
    ) -> tuple[Head, list[Any]]:
        """`judged`: leadership rests on it, so it raises IncarnationChanged when the server went back."""
        floor = self._history.position
        head, answer = await (pool or self._calls).run(script, *arguments, reads=reads)
        look = self._history.check if judged else self._history.look
        look(floor, head.uuid, _position(head))
        self._history.learn(head.uuid, _position(head))
        return head, answer


def _position(head: Head) -> Position:
    return Position(head.incarnation, (head.revision,))


def _member(group: str, revision: int) -> Member:
    return Member(group, f"{revision:x}", revision)


def _beside(cell: str | None) -> tuple[str, ...]:
    check_beside(cell)
    return () if cell is None else (cell,)


def _stands(member: Member, head: Head, answer: list[Any]) -> Claimed | Waiting:
    match answer:
        case [b"first", *beside]:
            return Claimed(
                member, make_token(head.incarnation, member.revision), _cell(*beside) if beside else None
            )
        case [b"waiting", behind, changes, left_ms]:
            return Waiting(_member(member.group, int(behind)).id, int(changes), left_ms / 1000 + EXPIRED_S)
        case _:
            _refuse(answer[0], member)


def _cell(version: bytes, value: bytes | None) -> Cell:
    return Cell(value, int(version))


def _check_id(member: Member, error: type[MemberGone | NotFirst] = MemberGone) -> None:
    if member.revision <= 0 or member != _member(member.group, member.revision):
        raise error(f"member {member.id} is none of this engine's")


def _check(said: bytes) -> None:
    match said:
        case b"ok":
            return
        case b"session":
            raise SessionGone("the session has ended")
        case b"incarnation":
            raise IncarnationChanged("the incarnation was raised since this session was opened")
        case _:
            raise EngineError(f"an answer that no script gives: {said!r}")


def _refuse(said: bytes, member: Member) -> NoReturn:
    if said == b"member":
        raise MemberGone(f"member {member.id} has left, was removed, or its session ended")
    _check(said)
    raise EngineError(f"an answer that no script gives: {said!r}")
