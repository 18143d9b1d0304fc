"""Watches over the wire, the answering side: a client is told that something changed, never what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from incumbent.errors import Overloaded, ProtocolViolation, WatchLost
from incumbent.runtime.connection import Connection
from incumbent.runtime.frames import Watch, WatchOver, Woken

if TYPE_CHECKING:
    from incumbent.runtime.driver import Driver


class RemoteWatches:
    """Of all client connections. Each watch is a task that ends with its connection, at the client's word, or with the
    driver's own watch. A wake-up is a few bytes and they are merged, so a slow reader costs little, and one that never reads
    loses its connection at the bound of its write buffer."""

    def __init__(self, per_connection_max: int) -> None:
        self._max = per_connection_max
        self._tasks: dict[Connection, dict[int, asyncio.Task[None]]] = {}

    def begin(self, connection: Connection, watch: Watch, driver: Driver | None) -> None:
        """Raises ProtocolViolation when the client uses an id twice."""
        mine = self._tasks.get(connection)
        if mine is None:
            mine = self._tasks[connection] = {}
            closing = asyncio.create_task(self._end_with(connection), name="incumbent ends watches")
            mine[-1] = closing
        if watch.id in mine or watch.id < 0:
            raise ProtocolViolation(f"watch {watch.id} is open already, or is no id")
        if driver is None or driver.ended:
            connection.send(WatchOver(watch.id, "this node is in no formed cluster, or has stopped"))
        elif len(mine) > self._max:
            connection.send(
                WatchOver(watch.id, f"{self._max} watches are open here already", overloaded=True)
            )
        else:
            task = asyncio.create_task(self._follow(connection, watch, driver), name="incumbent watches")
            mine[watch.id] = task
            task.add_done_callback(lambda _: mine.pop(watch.id, None))

    def stop(self, connection: Connection, id: int) -> None:  # noqa: A002  - the watch's id
        """No more of this one. One that is over already is no mistake: the client could not know."""
        task = self._tasks.get(connection, {}).get(id)
        if task is not None and id >= 0:
            task.cancel()

    def close(self) -> None:
        for tasks in self._tasks.values():
            for task in tasks.values():
                task.cancel()

    async def _end_with(self, connection: Connection) -> None:
        try:
            await connection.closed.wait()
        finally:
            for task in list(self._tasks.pop(connection).values()):
                if task is not asyncio.current_task():
                    task.cancel()

    async def _follow(self, connection: Connection, watch: Watch, driver: Driver) -> None:
        try:
            async for _ in driver.watch(watch.key, watch.end, watch.after):
                if not connection.send(Woken(watch.id)):
                    connection.abort()
                    return
        except WatchLost as error:
            connection.send(WatchOver(watch.id, str(error)))
        except Overloaded as error:
            connection.send(WatchOver(watch.id, str(error), overloaded=True))
