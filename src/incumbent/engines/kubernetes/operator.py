"""What an operator does after the cluster's etcd was restored from a backup: raise the incarnation of a namespace."""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.engines.kubernetes import parse
from incumbent.engines.kubernetes.access import open_access
from incumbent.engines.kubernetes.client import Conflict, Exists, Leases, Server
from incumbent.engines.kubernetes.leases import COMMON, IN, INCARNATION, KIND, NUMBER, changed, new_lease
from incumbent.engines.kubernetes.snapshot import number_of
from incumbent.errors import EngineUnavailable, Unsupported
from incumbent.ids import TOKEN_INCARNATION_MAX

PAUSE_S: Final = 0.02
ATTEMPTS_MAX: Final = 20


async def bump(url: str) -> int:
    """Raise it by one for every election of the namespace, and return it. Members that joined before can lead no more; those
    that join from now on have tokens above all of before.

    Raises InvalidInput, EngineUnavailable, NotAllowed, OutcomeUnknown: then it may have been raised, and once more does no harm.
    """
    place, timeout_s = parse(url)
    server = Server(open_access(place))
    try:
        leases = server.until(asyncio.get_running_loop().time() + timeout_s)
        for _ in range(ATTEMPTS_MAX):
            try:
                return await _bump(leases)
            except (Conflict, Exists):
                await asyncio.sleep(PAUSE_S)
        raise EngineUnavailable("others changed the incarnation all the time")
    finally:
        await server.close()


async def _bump(leases: Leases) -> int:
    lease = await leases.find(INCARNATION)
    number = number_of(lease) + 1
    if number > TOKEN_INCARNATION_MAX:
        raise Unsupported(f"the incarnation is {number - 1} already, and tokens have room for no more")
    marks = {NUMBER: str(number)}
    if lease is None:
        await leases.create(new_lease(INCARNATION, {IN: COMMON, KIND: "incarnation"}, marks, {}))
    else:
        await leases.update(changed(lease, annotations=marks))
    return number
