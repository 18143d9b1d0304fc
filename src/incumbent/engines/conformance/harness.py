"""How the suite gets at an engine: the harness that its author writes, and the lab that the checks work in.

A harness makes *services*. A service may be shared by all checks: every check uses names of its own.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from incumbent.engines.api import Claimed, Engine, Member, Roster, Session, Waiting
from incumbent.errors import IncumbentError, MemberGone, WatchLost


class Service(Protocol):
    """One running service of the engine under test."""

    @property
    def ttl_s(self) -> float:
        """A short TTL that the engine honours. Checks of expiry wait for a few of these."""
        ...

    @property
    def ttl_long_s(self) -> float:
        """A TTL that no check outlives (a minute in real time): sessions that must not expire get this one."""
        ...

    @property
    def expiry_late_max_s(self) -> float:
        """How much later than ttl + release_delay the engine may end a silent session."""
        ...

    @property
    def patience_s(self) -> float:
        """Real seconds after which a wake-up that has not come is taken as lost."""
        ...

    async def client(self) -> Engine:
        """One more client on the service, as another process would open it. The suite closes it."""
        ...

    def now_s(self) -> float:
        """A clock that runs with the service's own: real, or the injected one."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let the service's time pass: sleep, or move the injected clock and let the engine see it."""
        ...

    async def restart(self) -> bool:
        """Stop the whole service and start it again from what it keeps; all clients are closed before.
        False = this engine has nothing to restart."""
        ...

    async def kill(self, client: Engine) -> bool:
        """Take a client away as SIGKILL would, without a goodbye. False = this harness cannot."""
        ...


class EngineHarness(Protocol):
    """What the author of an engine writes."""

    def service(self) -> AbstractAsyncContextManager[Service]: ...


class NotConforming(AssertionError):
    """The engine breaks a sentence of `incumbent.engines.api`."""


class NotApplicable(Exception):
    """The engine declares that it does not give this, or the harness cannot bring it about."""


class Inconclusive(Exception):
    """The machine was too slow for a timed check to prove anything. It is run again."""


def expect(condition: object, sentence: str) -> None:
    """`sentence` is what the protocol promises. Raises NotConforming with it when `condition` is false."""
    if not condition:
        raise NotConforming(sentence)


@asynccontextmanager
async def expect_raises(error: type[IncumbentError], sentence: str) -> AsyncIterator[None]:
    """The block must raise `error`; anything else of ours, or nothing, breaks `sentence`."""
    try:
        yield
    except error:
        return
    except IncumbentError as other:
        raise NotConforming(f"{sentence}; got {type(other).__name__}: {other}") from other
    raise NotConforming(f"{sentence}; nothing was raised")


def request_id() -> str:
    return secrets.token_hex(16)


class Lab:
    """What a check works with. Cleans up behind it: sessions are ended, clients are closed."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.ttl_s = service.ttl_s
        self.late_s = service.expiry_late_max_s
        self._clients: list[Engine] = []
        self._sessions: list[Session] = []

    def name(self, hint: str) -> str:
        """A name that no other check uses."""
        return f"{hint}-{secrets.token_hex(6)}"

    def now_s(self) -> float:
        return self.service.now_s()

    async def pass_time(self, seconds: float) -> None:
        await self.service.pass_time(seconds)

    async def client(self) -> Engine:
        engine = await self.service.client()
        self._clients.append(engine)
        return engine

    async def session(
        self, engine: Engine, ttl: float | None = None, *, release_delay: float = 0.0
    ) -> Session:
        ttl = self.service.ttl_long_s if ttl is None else ttl
        session = await engine.open_session(ttl, request_id(), release_delay=release_delay)
        self._sessions.append(session)
        return session

    async def join(self, engine: Engine, group: str, value: bytes = b"", ttl: float | None = None) -> Member:
        """Join with a session of its own."""
        return await engine.join(await self.session(engine, ttl), group, request_id(), value)

    async def restart(self) -> None:
        await self._close_clients()
        if not await self.service.restart():
            raise NotApplicable("this service cannot be restarted")

    async def kill(self, client: Engine) -> None:
        if not await self.service.kill(client):
            raise NotApplicable("this harness cannot kill a client")

    async def close(self) -> None:
        """The verdict is in by now, so a broken engine's complaints are of no interest here."""
        with suppress(IncumbentError):
            sweeper = await self.client()
            for session in self._sessions:
                await sweeper.end_session(session.ref)
        await self._close_clients()

    async def _close_clients(self) -> None:
        for client in self._clients:
            with suppress(IncumbentError):
                await client.close()
        self._clients.clear()

    # --- waiting --------------------------------------------------------------------------------------------------

    async def until_first(self, engine: Engine, member: Member) -> Claimed:
        """Claim, wait to be woken, claim again: what `leadership` does. Raises MemberGone."""
        while True:
            answer = await engine.claim(member)
            if isinstance(answer, Claimed):
                return answer
            await self.wake(engine, member.group, answer)

    async def wake(self, engine: Engine, group: str, waiting: Waiting) -> None:
        """Until the engine wakes who waits there, or asked it to claim again."""
        watch = engine.watch(group, waiting.cursor)
        patience = self.service.patience_s + self.ttl_s + self.late_s
        limit = patience if waiting.retry_after is None else min(waiting.retry_after, patience)
        try:
            async with asyncio.timeout(limit):
                await anext(watch)
        except WatchLost:
            return
        except TimeoutError:
            expect(
                waiting.retry_after is not None,
                "who waits without retry_after is woken by what ends the wait",
            )
        finally:
            await _close_watch(watch)

    @asynccontextmanager
    async def watching(self, engine: Engine, group: str, cursor: object) -> AsyncIterator[Pump]:
        """A watch that is drained in the background, so that its wake-ups can be counted."""
        pump = Pump(engine.watch(group, cursor), self.service.patience_s)
        try:
            yield pump
        finally:
            await pump.close()


class Pump:
    """Counts the wake-ups of one watch."""

    def __init__(self, watch: AsyncIterator[None], patience_s: float) -> None:
        self.wakes = 0
        self._watch = watch
        self._patience_s = patience_s
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def woken_since(self, wakes: int, what: str) -> None:
        """Until there were more than `wakes` wake-ups. Raises NotConforming when none comes in time."""
        try:
            async with asyncio.timeout(self._patience_s):
                while self.wakes <= wakes and not self._task.done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise NotConforming(f"a watch wakes for {what}") from error
        if self.wakes <= wakes:
            await self._task
            raise NotConforming("a watch never ends without WatchLost")

    async def lost(self) -> None:
        """Until the watch raises WatchLost. Raises NotConforming when it does not."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._task
        except WatchLost:
            return
        except TimeoutError as error:
            raise NotConforming("a watch that cannot go on raises WatchLost; it hangs") from error
        raise NotConforming("a watch that cannot go on raises WatchLost; it just ended")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await _close_watch(self._watch)

    async def _run(self) -> None:
        try:
            async for _ in self._watch:
                self.wakes += 1
                self._news.set()
        finally:
            self._news.set()


async def _close_watch(watch: AsyncIterator[None]) -> None:
    """A watch is usually a generator; one that is not has nothing to close."""
    closer = getattr(watch, "aclose", None)
    if closer is not None:
        await closer()


async def ended_between(lab: Lab, engine: Engine, member: Member, limit_s: float) -> tuple[float, float]:
    """Watch a roster, which renews nothing, until `member` is gone.

    Returns (a moment at which it was still there, a moment at which it was gone).
    """
    alive_s = give_up_s = lab.now_s()
    give_up_s += limit_s
    while True:
        asked_s = lab.now_s()
        there = is_in(member, await engine.roster(member.group))
        if not there:
            return alive_s, lab.now_s()
        expect(
            asked_s <= give_up_s, f"a silent session ends at most {lab.late_s} s after ttl + release_delay"
        )
        alive_s = asked_s
        await lab.pass_time(lab.ttl_s / 16)


def is_in(member: Member, roster: Roster) -> bool:
    return any((e.id, e.order) == (member.id, member.revision) for e in roster.members)


def ids(roster: Roster) -> list[str]:
    return [entry.id for entry in roster.members]


async def first(engine: Engine, member: Member) -> Claimed:
    """Claim where there is nobody in front."""
    answer = await engine.claim(member)
    if not isinstance(answer, Claimed):
        raise NotConforming("a live member with nobody in front claims at once")
    return answer


async def waiting(engine: Engine, member: Member) -> Waiting:
    """Claim where somebody is in front."""
    answer = await engine.claim(member)
    if isinstance(answer, Claimed):
        raise NotConforming("only the first live member claims")
    expect(
        answer.retry_after is None or (math.isfinite(answer.retry_after) and answer.retry_after > 0),
        "retry_after is a positive number of seconds",
    )
    return answer


async def expect_member_gone(engine: Engine, member: Member, why: str) -> None:
    async with expect_raises(MemberGone, f"claim raises MemberGone after {why}"):
        await engine.claim(member)
    async with expect_raises(MemberGone, f"update raises MemberGone after {why}"):
        await engine.update(member, b"ghost")
