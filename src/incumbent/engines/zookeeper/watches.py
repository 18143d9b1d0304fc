"""Wake-ups: for a group, its children and its bell; for who waits, the node in front and the own one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from incumbent.engines.zookeeper.service import NoNode, Service, unexpected
from incumbent.errors import EngineUnavailable, WatchLost


@dataclass(frozen=True, slots=True)
class Mark:
    """A group's state: when its children last changed, and when its bell was last written."""

    children: int
    bell: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The cursor of who waits: the nodes of the member waited for, and the own one."""

    paths: tuple[str, str]


async def watch_group(service: Service, group: str, after: Mark) -> AsyncIterator[None]:
    """Raises WatchLost."""
    path, bell = service.tree.group(group), service.tree.bell(group)
    watcher = service.line.watcher(path, bell)
    try:
        seen = after
        while True:
            watcher.arm()
            now = await _mark(service, path, bell)
            watcher.check()
            if now != seen:
                seen = now
                yield None
            else:
                await watcher.changed()
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
    finally:
        watcher.close()


async def _mark(service: Service, path: str, bell: str) -> Mark:
    """Watches both from here on, also where there is nothing yet."""
    group, rung, listed = await _read(
        service, _exists(service, path), _exists(service, bell), _children(service, path)
    )
    children = 0 if group is None or isinstance(listed, NoNode) else listed[1].pzxid
    return Mark(children, 0 if rung is None else rung.mzxid)


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
