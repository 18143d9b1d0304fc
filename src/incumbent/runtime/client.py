"""Asking the cluster: finds the leader, follows its hints, waits while there is none, and is honest about what it does not know.

A command is sent at most once: after an attempt whose outcome is unknown it is the caller who decides. Reads and renewals may
be repeated by anyone, so they are. Time here is the loop's and only for waiting: it decides when to give up, nothing else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, assert_never

from incumbent.consensus.api import Role
from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    NotAllowed,
    OutcomeUnknown,
    Overloaded,
    ProtocolViolation,
    StateDiverged,
    Unsupported,
    WatchLost,
)
from incumbent.ids import LeaseId, Revision, name_of
from incumbent.kv.api import NO_LEASE, Command, Query, Result
from incumbent.node.api import Done, Refused, RefusedReason, Unknown
from incumbent.runtime.caller import AnswerOutcome, Caller
from incumbent.runtime.connection import LIMITS, NetworkLimits
from incumbent.runtime.frames import (
    Address,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Hello,
    Led,
    Read,
    Renew,
    Request,
    Submit,
    encoded_bytes,
)
from incumbent.runtime.tls import Tls

if TYPE_CHECKING:  # a guardian's helper process is a client without a voter: it need not load one
    from incumbent.runtime.driver import Driver

BACKOFF_MIN_S: Final = 0.002
BACKOFF_MAX_S: Final = 0.25
REDIRECTS_MAX: Final = 3
"""Hints followed at once, one after the other; then a pause, for two voters may point at each other."""
ATTEMPT_TIMEOUT_S: Final = 1.0
"""After this long without an answer a read or renewal is asked elsewhere."""
STANDBY_CHECK_S: Final = 0.5
"""So often at most a client looks whether it still has a second connection."""
SILENCE_GRACE_S: Final = 0.02
"""So long a voter that was asked may take to say that it does not lead any more, once another is known to."""
NS_PER_S: Final = 1_000_000_000
CALL_ROOM_BYTES: Final = 32
"""What a call's own frame adds to its request."""


class ClusterClient:
    """Asks the local voter when it leads, else the leader over the wire. Safe to cancel; safe to share in one loop."""

    def __init__(
        self,
        addresses: Mapping[str, Address],
        cluster: str,
        local: Driver | None = None,
        *,
        limits: NetworkLimits = LIMITS,
        tls: Tls | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self._addresses = dict(addresses)
        self._cluster = cluster
        self._local = local
        self._limits = limits
        self._tls = tls
        self._secrets = tuple(secrets)
        self._random = Random(os.urandom(16))
        self._hint: str | None = None  # the name of whom the cluster last called leader
        self._callers: dict[str, asyncio.Task[Caller]] = {}
        self._asked: dict[asyncio.Future[AnswerOutcome], str] = {}  # over the wire, and whom
        self._news = asyncio.Event()  # replaced whenever somebody learns of another leader
        self._term = 0  # of the newest leader that a voter told of
        self._standby_checked_s = 0.0
        self._follower: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, command: Command, *, timeout: float) -> Result:
        """Have `command` applied, and return what it did.

        Raises EngineUnavailable when it certainly was not and will not be applied, OutcomeUnknown when it may have been
        or may yet be, Overloaded, InvalidInput when it is too large, and NotAllowed.
        """
        return await self._call(Submit(command), timeout)

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        """A linearizable read. Raises EngineUnavailable, Overloaded, InvalidInput (the answer is too large)."""
        return await self._call(Read(query, lease), timeout)

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        """Extend a lease. Its holder counts from before this call. With `patience` seconds to spare it costs the nodes less.

        Raises EngineUnavailable, OutcomeUnknown (it may have been extended), Overloaded.
        """
        return await self._call(Renew(lease, round(patience * NS_PER_S)), timeout)

    async def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        """Wake-ups for changes in a key range after a revision, from the voter that leads or else from any. Raises WatchLost,
        also when none is reached; Overloaded."""
        name = self._choose(None)
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                caller = await self._caller(name)
        except (EngineUnavailable, TimeoutError) as error:
            self._hint = None
            raise WatchLost(f"voter {name} was not reached") from error
        async for _ in caller.watch(key, end, after):
            yield None

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where the voters are, as far as it is known."""
        return self._addresses

    def _on_hello(self, hello: Hello) -> None:
        """Members come and go, and each that speaks knows where the others are."""
        if hello.members:
            members = {name_of(member) for member in hello.members}
            known = {name: address for name, address in hello.addresses if name in members}
            if known:
                self._addresses = known

    async def close(self) -> None:
        """Say goodbye to every voter. What is still asked ends as OutcomeUnknown."""
        self._closed = True
        tasks = [*self._callers.values(), *([self._follower] if self._follower else [])]
        callers = [t.result() for t in self._callers.values() if t.done() and _dialled(t)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(caller.close() for caller in callers), return_exceptions=True)

    # one call

    async def _call(self, request: Request, seconds: float) -> Result:
        if encoded_bytes(request) > self._limits.frame_bytes_max - CALL_ROOM_BYTES:
            raise _too_large(request)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        backoff = BACKOFF_MIN_S
        redirects = 0
        maybe_applied = False
        avoid: str | None = None
        trouble = "no voter is known"
        self._follow_local()
        while not self._closed and (remaining := deadline - loop.time()) > 0:
            news = self._news
            name = self._choose(avoid)
            outcome = await self._attempt(name, request, remaining)
            avoid = name
            match outcome:
                case AnswerDone(result):
                    self._hint = name
                    self._keep_standby()
                    return result
                case AnswerUnknown():
                    if self._hint == name:
                        self._hint = None
                    if isinstance(request, Submit):
                        raise OutcomeUnknown(f"the command was given to {name}, and no answer came")
                    maybe_applied = maybe_applied or isinstance(request, Renew)
                    trouble = f"{name} did not answer"
                case AnswerRefused():
                    trouble = f"{name} refused: {outcome.reason}"
                    if self._redirected(name, outcome, request) and redirects < REDIRECTS_MAX:
                        redirects += 1
                        avoid = None
                        continue
                    if outcome.reason is RefusedReason.LEASE_EXPIRING:
                        avoid = None  # the right voter, only too early
                case str():
                    trouble = outcome
                case _:
                    assert_never(outcome)
            await self._pause(news, min(deadline - loop.time(), self._random.uniform(backoff / 2, backoff)))
            backoff = min(2 * backoff, BACKOFF_MAX_S)
            redirects = 0
        if maybe_applied:
            raise OutcomeUnknown(f"no answer within {seconds} s: {trouble}")
        raise EngineUnavailable(f"no leader answered within {seconds} s: {trouble}")

    def _redirected(self, name: str, refused: AnswerRefused, request: Request) -> bool:
        """Learn from a refusal: true when it names another voter to ask. Raises what only the caller can mend."""
        match refused.reason:
            case RefusedReason.OVERLOADED:
                raise Overloaded(f"voter {name} has as many requests in flight as it takes")
            case RefusedReason.DIVERGED:
                raise StateDiverged(f"voter {name} says that no majority of the nodes has the same state")
            case RefusedReason.NOT_ALLOWED:
                raise NotAllowed(f"voter {name} has no rule that admits this client there (see [[allow]])")
            case RefusedReason.LEVEL:
                raise Unsupported(
                    f"voter {name} says that not every member reads such a command: upgrade all"
                )
            case RefusedReason.TOO_LARGE:
                raise _too_large(request)
            case RefusedReason.LEASE_EXPIRING | RefusedReason.TRANSFERRING:
                return False
            case RefusedReason.NOT_LEADER:
                self._hint = None if refused.leader is None else name_of(refused.leader)
                if self._hint is not None and refused.address is not None:
                    self._addresses.setdefault(self._hint, refused.address)
                return self._hint is not None and self._hint != name
            case _:
                raise ProtocolViolation(f"voter {name} gives a reason that does not fit: {refused.reason}")

    def _choose(self, avoid: str | None) -> str:
        """Whom to ask: ourselves when we lead, whom we know to lead, else anyone but `avoid`, who just failed us."""
        local = self._running_local()
        if local is not None:
            if local.leadership.role is Role.LEADER:
                return name_of(local.me)
            leader = _leader_known_to(local)
            if leader is not None and leader != avoid and leader in self._addresses:
                return leader
        if self._hint is not None and self._hint != avoid and self._hint in self._addresses:
            return self._hint
        others = [name for name in self._addresses if name != avoid]
        return self._random.choice(others or list(self._addresses))

    async def _attempt(self, name: str, request: Request, seconds: float) -> AnswerOutcome | str:
        """Ask `name` once. A text says why the request was certainly not sent."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (seconds if isinstance(request, Submit) else min(seconds, ATTEMPT_TIMEOUT_S))
        local = self._running_local()
        try:
            if local is not None and name == name_of(local.me):
                return await _ask_local(local, request, deadline)
            caller = self._open_caller(name)
            if caller is None:
                async with asyncio.timeout_at(deadline):
                    caller = await self._caller(name)
        except TimeoutError:
            return f"voter {name} was not reached in time"
        except (EngineUnavailable, Overloaded) as error:
            return str(error)
        future = caller.ask(request)
        if local is None or name == _leader_known_to(local):
            self._asked[future] = name
        overdue = loop.call_at(deadline, _give_up, future)
        try:
            return await future
        finally:
            overdue.cancel()
            self._asked.pop(future, None)

    def _open_caller(self, name: str) -> Caller | None:
        task = self._callers.get(name)
        if task is None or not task.done() or not _dialled(task):
            return None
        caller = task.result()
        return caller if caller.is_open else None

    async def _caller(self, name: str) -> Caller:
        return await asyncio.shield(self._connection_to(name))

    def _connection_to(self, name: str) -> asyncio.Task[Caller]:
        """The open connection to `name`, dialled once for all who wait for it."""
        task = self._callers.get(name)
        if task is not None and task.done() and not (_dialled(task) and task.result().is_open):
            task = None
        if task is None:
            on_led = self._on_led if self._local is None else None
            address = self._addresses[name]
            dial = Caller.dial(
                self._cluster, address, self._limits, self._on_hello, on_led, self._tls, self._secrets
            )
            task = self._callers[name] = asyncio.create_task(dial, name=f"incumbent calls {name}")
            task.add_done_callback(_dialled)
        return task

    async def _pause(self, news: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await news.wait()
        except TimeoutError:
            pass

    # who leads, without a voter of our own

    def _keep_standby(self) -> None:
        """Stay connected to a second voter. It tells of the next leader when the one that is asked is gone without a word."""
        now_s = asyncio.get_running_loop().time()
        if self._local is not None or now_s - self._standby_checked_s < STANDBY_CHECK_S:
            return
        self._standby_checked_s = now_s
        others = [name for name in self._addresses if name != self._hint]
        if others and not any(self._open_caller(name) for name in others):
            self._connection_to(self._random.choice(others))

    def _on_led(self, led: Led) -> None:
        """A voter says who leads. Whoever waits for a former leader stops waiting."""
        name = name_of(led.leader)
        if led.term < self._term or (led.term == self._term and name == self._hint):
            return
        self._term = led.term
        if led.address is not None:
            self._addresses.setdefault(name, led.address)
        self._hint = name
        news, self._news = self._news, asyncio.Event()
        news.set()
        # Whoever is asked and alive says so himself, and better than unknown.
        asyncio.get_running_loop().call_later(SILENCE_GRACE_S, self._give_up_on_others, name)

    # what the local voter knows

    def _running_local(self) -> Driver | None:
        return self._local if self._local is not None and not self._local.ended else None

    def _follow_local(self) -> None:
        local = self._running_local()
        if local is not None and self._follower is None:
            self._follower = asyncio.create_task(self._follow(local), name="incumbent follows the leader")

    async def _follow(self, local: Driver) -> None:
        """When the local voter learns of another leader, whoever waits for the former one stops waiting."""
        while not local.ended:
            await local.leadership_changed()
            news, self._news = self._news, asyncio.Event()
            news.set()
            self._give_up_on_others(_leader_known_to(local))

    def _give_up_on_others(self, leader: str | None) -> None:
        """Nobody but the leader will answer. Who was asked as the leader, and is another now, may have done it."""
        for future, name in list(self._asked.items()):
            if leader is not None and leader != name and not future.done():
                future.set_result(AnswerUnknown())


def _leader_known_to(local: Driver) -> str | None:
    leader = local.leadership.leader
    return None if leader is None else name_of(leader)


async def _ask_local(local: Driver, request: Request, deadline: float) -> AnswerOutcome:
    match request:
        case Submit(command):
            future = local.submit(command)
        case Read(query, lease):
            future = local.read(query, lease=lease)
        case Renew(lease, patience_ns):
            future = local.renew(lease, patience_ns)
        case _:
            assert_never(request)
    try:
        async with asyncio.timeout_at(deadline):
            outcome = await future
    except TimeoutError:
        return AnswerUnknown()
    match outcome:
        case Done(result):
            return AnswerDone(result)
        case Refused(reason, leader):
            return AnswerRefused(reason, leader)
        case Unknown():
            return AnswerUnknown()
        case _:
            assert_never(outcome)


def _give_up(future: asyncio.Future[AnswerOutcome]) -> None:
    if not future.done():
        future.set_result(AnswerUnknown())


def _dialled(task: asyncio.Task[Caller]) -> bool:
    return not task.cancelled() and task.exception() is None


def _too_large(request: Request) -> InvalidInput:
    if isinstance(request, Read):
        return InvalidInput("query", "its answer is too large for one frame", "ask for a smaller range")
    return InvalidInput("command", f"is too large, {encoded_bytes(request)} bytes", "write less in one step")
