"""An event loop on a thread of its own, and the ways in from threads that block.

Nothing here knows of elections: it carries calls, async context managers and callbacks over the border between a loop and
blocking code. What was begun is always waited for: a thread that is interrupted (Ctrl-C) has it cancelled and undone first.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from incumbent.errors import EngineUnavailable, Unsupported
from incumbent.leadership.body import BodyDied
from incumbent.runtime.fork import tell_child

T = TypeVar("T")
DEAD_LOOK_S: Final = 0.5
"""How often it is looked whether the thread of a block is still there."""
STOP_S_MAX: Final = 5.0
"""How long closing waits for the loop's thread. It is a daemon, so it keeps no interpreter from ending."""


class BlockFailed(Exception):
    """A block or a callback in a blocking thread raised what must not come up on the loop's side: a KeyboardInterrupt would end
    the loop. In its own thread it goes on as itself."""


class Portal:
    """The loop and its thread. You owe a `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._forked = False
        self._closed = False
        self._lock = threading.Lock()  # what was begun comes before the stop
        self._thread = threading.Thread(target=self._run, name="incumbent-loop", daemon=True)
        self._thread.start()
        tell_child(self)

    def on_forked(self) -> None:
        """The thread is the parent's; whoever waited for it here would wait for ever."""
        self._forked = True

    @property
    def forked(self) -> bool:
        return self._forked

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop, and give its result or raise its error. Raises EngineUnavailable when closed."""
        job = self.begin(work)
        job.wait()
        return job.result()

    def each(self, make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
        """What an async generator yields, waited for one by one in this thread."""
        items = make()
        try:
            while (item := self.call(_next(items))) is not None:
                yield item[0]
        finally:
            with suppress(EngineUnavailable):  # closed, and so is all that ran on it
                self.call(items.aclose())

    def begin(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        if threading.current_thread() is self._thread:
            work.close()
            raise Unsupported("a blocking call from the event loop's own thread would wait for itself")
        if self._forked:  # before the lock, which another thread of the parent may have held at the fork
            work.close()
            raise EngineUnavailable("a forked child has no part in its parent's elections")
        with self._lock:
            if not self._closed:
                return Job(self._loop, work)
        work.close()
        raise EngineUnavailable("this cluster object is closed")

    def close(self) -> None:
        """End the loop and its thread. What still runs is cancelled; a block that does not end keeps the thread, for as long
        as it runs."""
        if self._forked:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S_MAX)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _next(items: AsyncGenerator[T, None]) -> tuple[T] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None


class Job(Generic[T]):
    """One coroutine on the loop, waited for by one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._ended = threading.Event()
        loop.call_soon_threadsafe(self._begin)

    def wait(self) -> None:
        """Until it has ended. Interrupted, it is cancelled, waited for, and the interruption goes on."""
        try:
            self._ended.wait()
        except BaseException:
            self.cancel()
            self._ended.wait()
            raise

    def cancel(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> T:
        """Raises EngineUnavailable when it was cancelled because the portal was closed."""
        assert self._task is not None
        try:
            return self._task.result()
        except asyncio.CancelledError as error:
            raise EngineUnavailable("this cluster object was closed") from error

    def when_ended(self, tell: Callable[[], object]) -> None:
        """Call it once, on the loop's thread."""
        try:
            self._loop.call_soon_threadsafe(self._when_ended, tell)
        except RuntimeError:  # the loop is closed: it has ended
            tell()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # an interrupted thread does not ask for it
        self._ended.set()

    def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()

    def _when_ended(self, tell: Callable[[], object]) -> None:
        assert self._task is not None
        self._task.add_done_callback(lambda _: tell())


class Held(Generic[T]):
    """``with Held(portal, make) as value:`` an async context manager, entered and left by one task of the loop, around a
    block that runs in this thread.

    Where the manager cancels the task because its block shall end, the task waits on: a thread cannot be cancelled, and
    as long as the block runs, the manager must not be left.
    """

    def __init__(self, portal: Portal, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """`make` is called on the loop."""
        self._portal = portal
        self._make = make
        self._entered: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        self._job: Job[None] | None = None
        self._block = Block()

    def __enter__(self) -> T:
        self._block.thread = threading.current_thread()
        self._job = job = self._portal.begin(self._hold())
        job.when_ended(lambda: self._entered.put(None))
        try:
            entered = self._entered.get()
        except BaseException:
            job.cancel()
            self._block.end(BlockFailed())
            job.wait()
            raise
        if entered is None:
            job.result()
            raise AssertionError("it ended without having been entered, and without an error")
        return entered[0]

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._portal.forked:
            return
        assert self._job is not None
        self._block.end(exc)
        self._job.wait()
        try:
            self._job.result()
        except BlockFailed:
            return  # the block's own exception goes on
        except Exception as error:
            if error is not exc:
                raise
            error.__traceback__ = traceback  # without its way through the loop

    async def _hold(self) -> None:
        async with self._make() as value:
            self._entered.put((value,))
            await self._block.outlast()


class Block:
    """Code that runs in a thread, as the loop sees it: it ends when it ends, or with its thread."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._over = False

    def end(self, error: BaseException | None) -> None:
        """From its thread, at its end, with what it raised."""
        with self._lock:
            self._error = error
            self._over = True
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._ended.set)

    async def outlast(self, on_cancelled: Callable[[], object] = lambda: None) -> None:
        """Wait for its end, and then let out a cancellation that came meanwhile, of which `on_cancelled` may tell the thread.
        Raises what the block raised, or BlockFailed."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._over:
                self._ended.set()
        cancelled = False
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(DEAD_LOOK_S):
                    await self._ended.wait()
            except TimeoutError:
                if self.thread is not None and not self.thread.is_alive() and not self._over:
                    raise BodyDied("the thread of a block ended without leaving it") from None
            except asyncio.CancelledError:
                cancelled = True
                on_cancelled()
        if isinstance(self._error, Exception) and not isinstance(self._error, StopIteration):
            raise self._error
        if self._error is not None:
            raise BlockFailed
        if cancelled:
            raise asyncio.CancelledError


class Serving:
    """The thread that makes this: it waits for a job of the loop and meanwhile runs what the job asks for: `do` from the loop's side."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.current_thread()

    def until_ended(self, job: Job[T]) -> T:
        """In the waiting thread. Gives what the job gives; an error that came up in this thread goes on as itself."""
        job.when_ended(lambda: self._orders.put(None))
        interrupted: BaseException | None = None
        while True:
            try:
                order = self._orders.get()
            except BaseException as error:  # Ctrl-C while nothing was to be done here
                interrupted = error
                job.cancel()
                continue
            if order is None:
                break
            order()
        if interrupted is not None:
            raise interrupted
        try:
            return job.result()
        except BlockFailed:
            assert self._error is not None
            raise self._error from None

    async def do(self, work: Callable[[], T]) -> T:
        """Run it in the waiting thread. Returns when it has ended, also when cancelled meanwhile."""
        block = Block()
        block.thread = self._thread
        results: list[T] = []

        def order() -> None:
            try:
                results.append(work())
            except BaseException as error:
                self._error = error
                block.end(error)
            else:
                block.end(None)

        self._orders.put(order)
        await block.outlast()
        return results[0]
