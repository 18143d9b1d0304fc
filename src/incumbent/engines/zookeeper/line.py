"""kazoo's client as asyncio sees it: for reads, watches, and writes that belong to no session of ours.

kazoo runs threads of its own and calls back from them; every call-back is handed to the event loop, and nothing here waits for
a thread. Its session means nothing to us and carries no member, so it does not matter that kazoo opens another when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from kazoo import exceptions as kazoo_errors
from kazoo.client import KazooClient, KazooState
from kazoo.retry import KazooRetry
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from incumbent.engines.zookeeper.place import Place
from incumbent.errors import EngineUnavailable, NotAllowed, OutcomeUnknown, Overloaded, WatchLost

SESSION_S: Final = 4.0
"""Of the line itself. kazoo notices a server that hangs within it."""
REQUESTS_MAX: Final = 4096
"""In flight at once; more are refused."""
WATCHES_MAX: Final = 65536
STOP_TIMEOUT_S: Final = 1.0

Start = Callable[[KazooClient], Any]
"""Hands a request to kazoo and returns its IAsyncResult."""

_LOST: Final = (
    kazoo_errors.ConnectionLoss,
    kazoo_errors.ConnectionClosedError,
    kazoo_errors.SessionExpiredError,
    kazoo_errors.SessionMovedError,
    kazoo_errors.OperationTimeoutError,
)
_REFUSED: Final = (kazoo_errors.NoAuthError, kazoo_errors.AuthFailedError, kazoo_errors.InvalidACLError)

log: Final = logging.getLogger("incumbent.zookeeper")


class Line:
    """Bound to the event loop that opened it."""

    def __init__(self, place: Place) -> None:
        self._loop = asyncio.get_running_loop()
        self._up = asyncio.Event()
        self._closed = False
        self._connection = 0  # counted on kazoo's thread
        self._in_flight = 0
        self._bells: dict[str, Bell] = {}
        self._watchers = set[Watcher]()
        self._client = KazooClient(
            hosts=",".join(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in place.hosts
            ),
            timeout=SESSION_S,
            connection_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5),
            default_acl=CREATOR_ALL_ACL if place.login is not None else OPEN_ACL_UNSAFE,
            auth_data=[("digest", place.login)] if place.login is not None else None,
            use_ssl=place.tls is not None,
            ca=place.tls.ca if place.tls is not None else None,
            certfile=place.tls.certificate if place.tls is not None else None,
            keyfile=place.tls.key if place.tls is not None else None,
            check_hostname=place.tls is not None,
        )
        self._client.add_listener(self._on_state)
        self._client.start_async()

    async def ask(self, *starts: Start, writes: bool, timeout: float) -> tuple[list[Any], int]:
        """Hand requests to ZooKeeper, which does them in this order, and wait for all. What ZooKeeper says against one of them
        (NoNodeError and the like) stands in the place of its result. Also the zxid that the server had come to; 0 = not known.

        Raises EngineUnavailable: not sent, or `writes` is False. OutcomeUnknown: sent, and no answer. NotAllowed, Overloaded.
        """
        began_s = self._loop.time()
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError:
            raise EngineUnavailable(f"ZooKeeper was not reached within {timeout:.1f} s") from None
        timeout = max(0.0, timeout - (self._loop.time() - began_s))
        if self._closed:
            raise EngineUnavailable("this engine is closed")
        if self._in_flight + len(starts) > REQUESTS_MAX:
            raise Overloaded(f"{REQUESTS_MAX} requests are in flight to ZooKeeper")
        connection = self._connection
        waiting = [self._begin(start) for start in starts]
        _, late = await asyncio.wait(waiting, timeout=timeout)
        zxid = int(
            self._client.last_zxid or 0
        )  # before it is asked whether that was still the same connection
        if connection != self._connection:
            zxid = 0
        lost: Exception | None = TimeoutError(f"no answer within {timeout:.1f} s") if late else None
        results = [None if future in late else future.result() for future in waiting]
        for result in results:
            if isinstance(result, _REFUSED):
                raise NotAllowed(f"ZooKeeper's access rules do not admit this user: {result!r}")
            if isinstance(result, _LOST):
                lost = result
        if lost is None:
            return results, zxid
        if writes:
            raise OutcomeUnknown(f"ZooKeeper was lost before the answer: {lost!r}") from lost
        raise EngineUnavailable(f"ZooKeeper was lost before the answer: {lost!r}") from lost

    def _begin(self, start: Start) -> asyncio.Future[Any]:
        """The future's result is the answer, or kazoo's exception: it never raises."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._in_flight += 1

        def arrived(result: Any) -> None:
            self._in_flight -= 1
            if not future.done():
                future.set_result(result)

        def on_thread(answer: Any) -> None:
            self._hand(arrived, answer.value if answer.exception is None else answer.exception)

        start(self._client).rawlink(on_thread)
        return future

    # --- watches --------------------------------------------------------------------------------------------------

    def watcher(self, *paths: str) -> Watcher:
        """Woken when one of the nodes changes. Close it."""
        if len(self._watchers) >= WATCHES_MAX:
            raise Overloaded(f"{WATCHES_MAX} watches are open")
        watcher = Watcher(self, paths)
        self._watchers.add(watcher)
        for path in paths:
            self.bell(path).watchers.add(watcher)
        if self._closed or not self._up.is_set():
            watcher.lose()
        return watcher

    def bell(self, path: str) -> Bell:
        """What kazoo calls. One for each path, however often it is watched, or kazoo would gather them."""
        if path not in self._bells:
            self._bells[path] = Bell(self, path)
        return self._bells[path]

    def ring(self, path: str) -> None:
        bell = self._bells.get(path)
        if bell is None:
            return
        for watcher in bell.watchers:
            watcher.wake()
        if not bell.watchers:
            del self._bells[path]  # kazoo has let go of it

    def forget(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        for path in watcher.paths:
            bell = self._bells.get(path)
            if bell is not None:
                bell.watchers.discard(watcher)

    # --- state ----------------------------------------------------------------------------------------------------

    def _on_state(self, state: str) -> None:
        """On kazoo's thread."""
        self._connection += 1
        if state != KazooState.CONNECTED:
            # A server that is behind would refuse whoever has seen more: for ever, once it was restored from a backup. Whether it
            # went back is ours to find out, and reads that must be fresh stand behind a write.
            self._client.last_zxid = 0
        self._hand(self._up.set if state == KazooState.CONNECTED else self._on_lost)

    def _on_lost(self) -> None:
        if not self._closed:
            self._up.clear()
        for watcher in self._watchers:
            watcher.lose()

    def _hand(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call, *arguments)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._up.set()  # whoever waits for it is told
        for watcher in self._watchers:
            watcher.lose()
        stopped = asyncio.Event()
        threading.Thread(target=self._stop, args=(stopped,), daemon=True).start()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await stopped.wait()
        except TimeoutError:
            log.info("ZooKeeper does not answer; the line's session is left to its timeout")

    def _stop(self, stopped: asyncio.Event) -> None:
        """kazoo says goodbye to the server, and waits ten seconds for one that hangs."""
        try:
            self._client.stop()
            self._client.close()
        except Exception as error:  # kazoo has no one kind; there is nothing left to do with it
            log.info("kazoo did not stop: %r", error)
        self._hand(stopped.set)


class Bell:
    """Called by kazoo on its thread, once for each time that it was given with a request."""

    def __init__(self, line: Line, path: str) -> None:
        self.watchers = set[Watcher]()
        self._line = line
        self._path = path

    def __call__(self, _event: object) -> None:
        self._line._hand(self._line.ring, self._path)  # noqa: SLF001  - one thing in two threads


class Watcher:
    """Waits until one of its paths has changed since the last `arm`, or the line is lost."""

    def __init__(self, line: Line, paths: Sequence[str]) -> None:
        self.paths = paths
        self._line = line
        self._news = asyncio.Event()
        self._lost = False

    def arm(self) -> None:
        """From here on a change counts. To be called before the nodes are read."""
        self._news.clear()
        if self._lost:
            self._news.set()

    @property
    def has_news(self) -> bool:
        return self._news.is_set()

    async def changed(self) -> None:
        """Raises WatchLost."""
        await self._news.wait()
        self.check()

    def check(self) -> None:
        """Raises WatchLost."""
        if self._lost:
            raise WatchLost("the connection to ZooKeeper was lost: read again")

    def wake(self) -> None:
        self._news.set()

    def lose(self) -> None:
        self._lost = True
        self._news.set()

    def close(self) -> None:
        self._line.forget(self)
