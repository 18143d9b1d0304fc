"""One watch on the namespace's Leases for everything in this process: it wakes who watches, and it sees renewals as they come.

What it saw is a list at the revision it has reached: an API server sends the events of a watch in the order of their revisions, and
leaves none out. So once a write's own event has come by, what was seen is the namespace at that write or later, without a question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, Final

from incumbent.engines.kubernetes.client import Gone, Listed, Server
from incumbent.engines.kubernetes.leases import (
    CELLS,
    EVERYTHING_BUT_BLOBS,
    IN,
    INCARNATION,
    JOINED,
    KIND,
    OF,
    Lease,
    as_revision,
    hashed,
    labels,
    name_of,
    notes,
    spec,
    uid_of,
)
from incumbent.engines.kubernetes.observed import Observed
from incumbent.errors import IncumbentError, WatchLost

WATCH_S: Final = 10
"""After so long the server ends the stream, and it is asked for anew: a connection that went dead is noticed by then (P38)."""
SLACK_S: Final = 5.0
LIST_TIMEOUT_S: Final = 5.0
EVENT_WITHIN_S: Final = 0.05
"""After so long a group is read rather than waited for."""
PAUSE_S_MIN: Final = 0.05
PAUSE_S_MAX: Final = 2.0
REMEMBERED_MAX: Final = 50_000
"""Names whose last change is remembered. Beyond it all are forgotten, and everybody is woken once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    digest: object
    keys: tuple[str, ...]  # whom a change of it wakes
    session: str  # of a member: its session's name
    lease: Lease


class Informer:
    """Runs from `start` to `close`. `changed_at` and `pulse` are for the watches."""

    def __init__(self, server: Server, observed: Observed) -> None:
        self._server = server
        self._observed = observed
        self._known: dict[str, _Known] = {}
        self._groups: dict[str, set[str]] = {}  # by hash: the names of its members and its election
        self._changed: dict[str, int] = {}
        self._floor = 0  # everything may have changed up to here
        self._position = 0
        self._lost = 0  # rises when the stream is lost: watches of before cannot go on
        self._connected = False
        self._closed = False
        self._pulse = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read everything once, then follow it. Raises what the API server refuses."""
        await self._relist()
        self._task = asyncio.create_task(self._run(), name="incumbent-kubernetes-watch")

    async def close(self) -> None:
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._wake()

    async def watch(self, keys: Iterable[str], after: int) -> AsyncGenerator[None, None]:
        """Wakes for changes of what has these keys after that revision. Raises WatchLost."""
        wanted, seen, lost = tuple(keys), after, self._lost
        while True:
            if not self._follows or self._lost != lost:
                raise WatchLost("the watch on the API server was lost, or this client is closed")
            pulse = self._pulse  # taken before looking
            changed_at = max(self._floor, *(self._changed.get(key, 0) for key in wanted))
            if changed_at > seen:
                seen = changed_at
                yield
            else:
                await pulse.wait()

    async def reaches(self, revision: int) -> bool:
        """Whether all changes up to that revision have come by. Waits for them a little: a write's own event comes when its answer does."""
        try:
            async with asyncio.timeout(EVENT_WITHIN_S):
                while self._follows and self._position < revision:
                    await self._pulse.wait()
        except TimeoutError:
            return False
        return self._follows

    def shown(self, group: str) -> Listed:
        """A group as the stream has shown it: its members, its election, their sessions, and the incarnation, at one revision."""
        own = [self._known[name] for name in self._groups.get(hashed(group), ())]
        names = {INCARNATION, *(known.session for known in own)}
        others = [self._known[name] for name in names if name in self._known]
        return Listed(self._position, tuple(known.lease for known in (*own, *others)))

    def lease(self, name: str) -> Lease | None:
        known = self._known.get(name)
        return None if known is None else known.lease

    @property
    def _follows(self) -> bool:
        return self._connected and not self._closed

    # --- following ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """A server that ends every stream at once, or knows nothing of the past, is not asked without a pause."""
        pause_s, must_read = PAUSE_S_MIN, False
        while True:
            lost = False
            try:
                if must_read:
                    await self._relist()
                    must_read = False
                    pause_s = PAUSE_S_MIN
                await self._follow()
            except Gone:
                must_read = True  # what came since is unknown: read all of it, and wake everybody
            except IncumbentError as error:
                logger.info("the watch on the API server was lost: %s", error)
                lost = True
            except Exception:
                logger.exception("the watch on the API server failed in an unknown way")
                lost = True
            if lost:
                must_read = True
                self._connected = False
                self._lost += 1
                self._wake()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX) if lost else PAUSE_S_MIN

    async def _relist(self) -> None:
        leases = self._server.until(asyncio.get_running_loop().time() + LIST_TIMEOUT_S)
        listed = await leases.list(EVERYTHING_BUT_BLOBS)
        self._known.clear()
        self._groups.clear()
        self._changed.clear()
        for lease in listed.leases:
            self._learn(lease)
        self._position = listed.revision
        self._floor = listed.revision
        self._connected = True
        self._wake()

    async def _follow(self) -> None:
        events = self._server.watch(self._position, EVERYTHING_BUT_BLOBS, seconds=WATCH_S, slack_s=SLACK_S)
        async for event in events:
            lease: dict[str, Any] = event["object"]
            revision = as_revision(lease["metadata"]["resourceVersion"])
            self._position = max(self._position, revision)
            match event["type"]:
                case "BOOKMARK":
                    continue
                case "DELETED":
                    self._forget(lease, revision)
                case _:
                    before = self._known.get(name_of(lease))
                    known = self._learn(lease)
                    if before is None or before.digest != known.digest:
                        self._touch({*known.keys, *(() if before is None else before.keys)}, revision)

    def _learn(self, lease: Lease) -> _Known:
        self._observed.saw(lease)
        mine = labels(lease)
        group = (mine[IN],) if mine.get(KIND) in ("member", "election") and IN in mine else ()
        session = mine.get(OF, "") if mine.get(KIND) == "member" else ""
        name = name_of(lease)
        known = _Known(_digest(lease), (name, *group), session, lease)
        self._drop(name)
        self._known[name] = known
        for key in group:
            self._groups.setdefault(key, set()).add(name)
        return known

    def _forget(self, lease: Lease, revision: int) -> None:
        name = name_of(lease)
        known = self._drop(name)
        self._observed.forget(name)
        keys = {name, *(() if known is None else known.keys)}
        for member in self._known.values():  # those who go with their session
            if member.session == name:
                keys.update(member.keys)
        self._touch(keys, revision)

    def _drop(self, name: str) -> _Known | None:
        known = self._known.pop(name, None)
        for key in () if known is None else known.keys[1:]:
            names = self._groups.get(key, set())
            names.discard(name)
            if not names:
                self._groups.pop(key, None)
        return known

    def _touch(self, keys: Iterable[str], revision: int) -> None:
        for key in keys:
            self._changed[key] = revision
        if len(self._changed) > REMEMBERED_MAX:
            self._changed.clear()
            self._floor = revision
        self._wake()

    def _wake(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()


def _digest(lease: Lease) -> object:
    """What may matter to those who watch: everything but renewals, and that a revision is written down."""
    told = notes(lease)
    others = tuple(sorted((key, value) for key, value in told.items() if key not in (CELLS, JOINED)))
    return (
        uid_of(lease),
        others,
        hash(told.get(CELLS)),
        spec(lease, "holderIdentity"),
        spec(lease, "leaseTransitions"),
        spec(lease, "acquireTime"),
    )
