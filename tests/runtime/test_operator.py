"""Which of its endpoints an operator believes."""

from __future__ import annotations

import asyncio

import pytest

from incumbent.errors import EngineUnavailable
from incumbent.runtime.frames import Address
from incumbent.runtime.operator import Operator, Report

WIPED, CUT_OFF, GOOD, GONE = (("h", port) for port in range(1, 5))
ADDRESSES = {"a": ["h", 1], "b": ["h", 2], "c": ["h", 3]}
REPORTS: dict[Address, Report] = {
    WIPED: {"node": "a", "formed": False, "addresses": {"a": ["h", 1]}},
    CUT_OFF: {"node": "b", "formed": True, "leader": None, "addresses": ADDRESSES},
    GOOD: {"node": "c", "formed": True, "leader": "c.0", "addresses": ADDRESSES},
}


class Canned(Operator):
    async def inspect(self, address: Address) -> Report:
        if address not in REPORTS:
            raise EngineUnavailable("gone")
        return REPORTS[address]


def asks(*endpoints: Address) -> Canned:
    return Canned("app", endpoints, asyncio.get_running_loop().time())


async def test_a_node_that_was_just_wiped_is_asked_and_not_believed() -> None:
    """`replace` of the first endpoint waited for ever for the empty node to know a leader."""
    assert await asks(WIPED, CUT_OFF, GONE, GOOD)._leader_address() == GOOD
    assert (await asks(WIPED, CUT_OFF)._anyone())["node"] == "b"
    assert (await asks(GONE, WIPED)._anyone())["node"] == "a"  # better than nobody: `init` may be next
    with pytest.raises(EngineUnavailable, match="no leader is known"):
        await asks(WIPED, CUT_OFF)._leader_address()
    with pytest.raises(EngineUnavailable, match="in no cluster yet"):
        await asks(WIPED)._leader_address()
    with pytest.raises(EngineUnavailable, match="gone"):
        await asks(GONE)._anyone()
