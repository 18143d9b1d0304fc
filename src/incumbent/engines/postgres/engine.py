"""The PostgreSQL engine: sends each operation as one question, keeps what was seen of sessions, ends those that stood still."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from incumbent.engines.api import Cell, CellWrite, Claimed, Guarantees, Member, Ref, Roster, Session, Waiting
from incumbent.engines.inputs import (
    check_beside,
    check_cell_writes,
    check_member_value,
    check_name,
    check_release_delay,
    check_request_id,
    check_ttl,
)
from incumbent.engines.postgres import store
from incumbent.engines.postgres.guarantees import CELL_BYTES_MAX, guarantees
from incumbent.engines.postgres.link import briefly
from incumbent.engines.postgres.memory import Memory
from incumbent.engines.postgres.pool import LINKS_MAX, Pool, Question, Reply
from incumbent.engines.postgres.schema import settle
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.postgres.sightings import Sightings
from incumbent.engines.postgres.wakeups import wakeups
from incumbent.engines.reference import Reference, check_url, session_id
from incumbent.errors import IncarnationChanged, IncumbentError, InvalidInput, Unsupported, WatchLost
from incumbent.ports import Clock
from incumbent.runtime.clock import BoottimeClock

logger = logging.getLogger(__name__)

T = TypeVar("T")
SCHEME: Final = "postgresql"
NS: Final = 1_000_000_000
LOOKS_PER_TTL: Final = 8
"""How often who is next in line looks whether the one in front still renews: a death is seen a TTL after a look."""
LOOKS_PER_TTL_BEHIND: Final = 2
"""And who is further behind."""
RETRY_S: Final = 0.5


class PostgresEngine:
    """One process's engine. Bound to the event loop that opened it, and to this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._calls = Pool(settings, LINKS_MAX)
        self._beats = Pool(settings, 1)  # a renewal waits for nobody's lock
        self._wakeups = wakeups(settings)
        self._memory = Memory()
        self._sightings = Sightings()
        self._waits_ns: int | None = None  # until when the gravedigger waits; None = for the first sighting
        self._sooner = asyncio.Event()  # something is due before that
        self._gravedigger: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings, *, clock: Clock | None = None) -> PostgresEngine:
        """Connect, and make the schema if it is missing. `clock` is for tests."""
        check_url(settings.url)
        await prepare(settings)
        engine = cls(settings, BoottimeClock() if clock is None else clock)
        engine._gravedigger = asyncio.create_task(engine._bury_silent(), name="incumbent-silence")
        return engine

    @property
    def guarantees(self) -> Guarantees:
        return guarantees(self._settings.standby)

    # --- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        check_ttl(ttl)
        check_release_delay(release_delay)
        session = session_id(check_request_id(request_id))
        ttl_ns, delay_ns = math.ceil(ttl * NS), math.ceil(release_delay * NS)
        await self._call(store.open_session(session, ttl_ns, delay_ns))
        return Session(Reference(SCHEME, session, self._settings.url).to_bytes(), ttl)

    async def renew(self, session: Session) -> None:
        own = Reference.from_bytes(session.ref, SCHEME).session
        await self._bury_due(own)  # by our own clock it may be over, and nobody else has noticed
        beats, server = self._sightings.beats(own), self._sightings.server(own)
        await self._judged(store.renew(own, beats, server, self._memory.need), self._beats)

    async def end_session(self, ref: Ref) -> bool:
        reference = Reference.from_bytes(ref, SCHEME)
        ended = await self._call(store.end_session(reference.session))
        self._sightings.forget(reference.session)
        return ended

    # --- members --------------------------------------------------------------------------------------------------

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        own = Reference.from_bytes(session.ref, SCHEME).session
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        return await self._call(store.join(own, group, value))

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        check_beside(cell)
        await self._bury_due()
        return self._answer(await self._judged(store.claim(member, cell), self._calls, member.group))

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        own = Reference.from_bytes(session.ref, SCHEME).session
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        check_beside(cell)
        await self._bury_due()
        member, found = await self._judged(store.stand(own, group, value, cell), self._calls, group)
        return member, self._answer(found)

    def _answer(self, found: Claimed | store.Queued) -> Claimed | Waiting:
        if isinstance(found, Claimed):
            return found
        looks = LOOKS_PER_TTL if len(found.ahead) == 1 else LOOKS_PER_TTL_BEHIND
        now_ns = self._clock.now_ns()
        again_ns = min(
            min(self._sightings.ends_ns(beat.session, now_ns) - now_ns, beat.lasts_ns // looks)
            for beat in found.ahead
        )
        return Waiting(found.behind, found.changes, max(again_ns, 1_000_000) / NS)

    async def update(self, member: Member, value: bytes) -> None:
        check_member_value(value)
        if not store.is_named(member):
            raise store.member_gone(member)
        await self._call(store.update(member, value))

    async def leave(self, member: Member) -> None:
        if store.is_named(member):
            await self._call(store.remove(member))

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        member = Member(check_name("group", group), id, revision)
        return store.is_named(member) and await self._call(store.remove(member))

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        return await self._call(store.roster(group))

    # --- cells ----------------------------------------------------------------------------------------------------

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        return await self._call(store.read_cell(group, name))

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        check_name("group", group)
        check_cell_writes(writes, CELL_BYTES_MAX)

        if claimed is not None and not store.is_named(claimed.member):
            raise store.not_first(claimed.member)
        before = self._memory.changes(group)
        question = store.write_cells(group, writes, claimed, self._memory.need, before)
        if claimed is None:
            return await self._call(question)
        await self._bury_due()
        return await self._judged(question, self._calls, group)

    # --- watching -------------------------------------------------------------------------------------------------

    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        """Wakes by notification, or by looking every `poll` seconds behind a pool."""
        check_name("group", group)
        if not isinstance(after, int):
            raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")
        seen, losses = after, self._wakeups.losses
        await self._wakeups.prepare()
        while True:
            news = self._wakeups.news(group)  # taken before looking: what changes from here on sets it
            try:
                changes = await self._call(store.peek(group))
            except IncumbentError as error:
                raise WatchLost(f"the watch cannot go on: {error}") from error
            if changes < seen:
                raise WatchLost("the server lacks changes that were seen")
            if changes > seen:
                seen = changes
                yield
                continue
            await self._wakeups.wait(news, losses)
            while news.is_set():  # something changed: whoever is woken looks
                news = self._wakeups.news(group)  # taken before waking: what changes while it looks sets it
                yield
                await self._wakeups.wait(news, losses)

    async def close(self) -> None:
        if self._gravedigger is not None:
            self._gravedigger.cancel()
        await self._wakeups.close()
        await self._calls.close()
        await self._beats.close()

    # --- questions ------------------------------------------------------------------------------------------------

    async def _call(self, question: Question[T]) -> T:
        """What may be done also on a server that went back: nobody leads by it."""
        await self._bury_due()
        return await self._ask(question, self._calls)

    async def _judged(self, question: Question[T], pool: Pool, group: str = "") -> T:
        """What leadership rests on. Raises IncarnationChanged when the server is not the one, or not as far, as it was."""
        floor, changes = self._memory.position, self._memory.changes(group)

        def read(reply: Reply) -> T:
            self._memory.check(floor, reply.head)
            answer = question.read(reply)
            self._memory.check_group(group, changes, reply.before.get(group, changes))
            return answer

        return await self._ask(replace(question, read=read), pool)

    async def _ask(self, question: Question[T], pool: Pool) -> T:
        floor = self._memory.position
        reply = await pool.ask(question)
        self._memory.look(floor, reply.head)
        try:
            answer = question.read(reply)
        except IncarnationChanged:
            pool.forget()
            raise
        self._learn(reply)
        return answer

    def _learn(self, reply: Reply) -> None:
        self._memory.learn(reply.head)
        now_ns, server = self._clock.now_ns(), store.server_of(reply.head)
        for beat in reply.seen:
            ends_ns = self._sightings.see(beat.session, beat.beats, server, beat.lasts_ns, now_ns)
            if self._waits_ns is None or ends_ns < self._waits_ns:
                self._sooner.set()
        for group, changes in reply.changes.items():
            self._memory.learn_group(group, changes)

    # --- silence --------------------------------------------------------------------------------------------------

    async def _bury_due(self, own: bytes | None = None) -> None:
        """End what has stood still for its whole time. With `own`: only if that one is among them."""
        due = self._sightings.due(self._clock.now_ns())
        if not due or (own is not None and all(sighting.session != own for sighting in due)):
            return
        await self._ask(store.bury(due), self._calls)
        for sighting in due:  # ended, or it moved: then whoever looks next sees it anew
            self._sightings.forget(sighting.session)

    async def _bury_silent(self) -> None:
        """For who waits, and for our own sessions that nobody renews any more."""
        while True:
            self._sooner.clear()
            self._waits_ns = next_ns = self._sightings.next_ns
            wait_s = None if next_ns is None else max(0.0, (next_ns - self._clock.now_ns()) / NS)
            try:
                async with asyncio.timeout(wait_s):
                    await self._sooner.wait()
                continue
            except TimeoutError:
                pass
            try:
                await self._bury_due()
            except IncumbentError as error:
                logger.info("sessions that stood still were not ended: %s", error)
                await asyncio.sleep(RETRY_S)


async def prepare(settings: Settings) -> None:
    """Make the schema if it is missing, and see what server this is."""
    async with briefly(settings) as link:
        await settle(link, settings.schema)
        ((names,),) = await link.run("SELECT current_setting('synchronous_standby_names')")
    if settings.standby == "synchronous" and not names[0]:
        raise Unsupported("url: standby=synchronous, but the server's synchronous_standby_names is empty")
