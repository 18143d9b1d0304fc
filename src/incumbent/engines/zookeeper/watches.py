"""Wake-ups: for a group, its children and its bell; for who waits, the node in front and the own one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from incumbent.engines.zookeeper.service import NoNode, Service, unexpected
from incumbent.errors import EngineUnavailable, WatchLost

PAUSE_S: Final = 0.005
"""Between a wake-up and the look behind it: whoever was woken acts first, and many changes are one look."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a group's two nodes say of how often it changed: its own, whose children come and go, and its bell."""

    made: tuple[int, int]  # by which zxids; 0 = there is none
    changes: int  # since then

    @classmethod
    def of(cls, listed: Any, bell: Any) -> Mark:
        """From the group's list and the bell's facts. The list's own: it is what the watch of the children began with."""
        of_group = (0, 0) if isinstance(listed, NoNode) else (listed[1].czxid, listed[1].cversion)
        of_bell = (0, 0) if bell is None or isinstance(bell, NoNode) else (bell.czxid, bell.version)
        return cls((of_group[0], of_bell[0]), of_group[1] + of_bell[1])

    def changed_since(self, former: Mark, *, told: int) -> bool:
        """More often than `told`."""
        return self.made != former.made or self.changes - former.changes > told


@dataclass(frozen=True, slots=True)
class Turn:
    """The cursor of who waits: the nodes of the member waited for, and the own one."""

    paths: tuple[str, str]


async def watch_group(service: Service, group: str, after: Mark) -> AsyncIterator[None]:
    """Raises WatchLost."""
    path, bell = service.tree.group(group), service.tree.bell(group)
    watcher = service.line.watcher(path, bell)
    try:
        seen, told = after, 0
        while True:
            watcher.arm()
            now = await _mark(service, path, bell)
            watcher.check()
            if now.changed_since(seen, told=told):
                yield None
            seen = now
            await watcher.changed()
            watcher.arm()
            yield None  # of what came first since; whether there was more, the next look tells
            await asyncio.sleep(PAUSE_S)
            told = 0 if watcher.has_news else 1  # kazoo may have told late of what was seen already
    finally:
        watcher.close()


async def watch_turn(service: Service, turn: Turn) -> AsyncIterator[None]:
    """Raises WatchLost once it has woken: that member will not be waited for again."""
    watcher = service.line.watcher(*turn.paths)
    try:
        while True:
            watcher.arm()
            stats = await _read(service, *(_exists(service, path) for path in turn.paths))
            watcher.check()
            if any(stat is None for stat in stats):
                yield None
                raise WatchLost("who was waited for is gone: claim again")
            await watcher.changed()
            yield None
            await asyncio.sleep(PAUSE_S)
    finally:
        watcher.close()


async def _mark(service: Service, path: str, bell: str) -> Mark:
    """Watches both from here on, also where there is nothing yet."""
    _, rung, listed = await _read(
        service, _exists(service, path), _exists(service, bell), _children(service, path)
    )
    return Mark.of(listed, rung)


async def _read(service: Service, *ops: Any) -> list[Any]:
    """Raises WatchLost."""
    try:
        results = await service.read(*ops)
    except EngineUnavailable as error:
        raise WatchLost(f"the watch cannot go on: {error}") from error
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, NoNode):
            raise WatchLost("the watch cannot go on") from unexpected(result)
    return results


def _exists(service: Service, path: str) -> Any:
    return lambda client: client.exists_async(path, watch=service.line.bell(path))


def _children(service: Service, path: str) -> Any:
    return lambda client: client.get_children_async(path, watch=service.line.bell(path), include_data=True)
