"""Up to which level every member reads commands, and telling the log. See ADR 20.

A leader never puts a command into the log before the log says that all members can read it, and the log never says so before each
of them has, over a live connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from incumbent.ids import NodeId, name_of
from incumbent.kv.api import FIRST_LEVEL, LEVEL
from incumbent.runtime.driver import Driver
from incumbent.runtime.formation import id_of
from incumbent.runtime.frames import Hello

LOOK_S: Final = 1.0
"""How long after the last upgrade a leader may take to notice."""


def level_of_all(me: NodeId, members: Iterable[NodeId], heard: Mapping[str, Hello]) -> int:
    """What every member reads; the first level while one is not heard."""
    lowest = LEVEL
    for member in members:
        if member == me:
            continue
        hello = heard.get(name_of(member))
        if hello is None or id_of(hello) != member:
            return FIRST_LEVEL
        lowest = min(lowest, hello.level)
    return lowest


async def keep_level(driver: Driver, heard: Callable[[], Mapping[str, Hello]]) -> None:
    """Have the log say what every member reads, as it rises. Runs until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        level = level_of_all(driver.me, driver.standing().membership.everyone, heard())
        if driver.leadership.serving and level > FIRST_LEVEL:
            driver.raise_level(level)
