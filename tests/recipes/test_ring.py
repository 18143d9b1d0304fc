"""The ring's nodes follow one view, whoever coordinates."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from itertools import pairwise
from pathlib import Path

import pytest

import incumbent
from incumbent.engines.api import CellWrite
from incumbent.errors import InvalidInput
from incumbent.leadership.connect import Cluster
from incumbent.recipes.ring import CELL, Ring
from incumbent.recipes.view import View
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, mend


class Node:
    """One node of the ring in one process: it serves, and remembers every view it saw."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.ring = Ring(cluster, "cache", node=name)
        self.seen: list[View] = []
        self.tasks = [asyncio.create_task(self.ring.serve()), asyncio.create_task(self._follow())]

    async def _follow(self) -> None:
        async with aclosing(self.ring.views()) as views:
            async for view in views:
                self.seen.append(view)

    async def until(self, *nodes: str, after: int = 0) -> View:
        while not self.seen or self.seen[-1].nodes != nodes or self.seen[-1].epoch <= after:
            await asyncio.sleep(0.01)
        return self.seen[-1]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_all_nodes_follow_the_coordinator_s_view() -> None:
    """P66: nodes that hold one epoch hold one view, and the epoch changes only with the content."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with AsyncExitStack() as stack:
            clusters = [await stack.enter_async_context(lab.connect()) for _ in range(3)]
            a = Node(clusters[0], "a")
            await a.until("a")
            b, c = Node(clusters[1], "b"), Node(clusters[2], "c")
            views = [await node.until("a", "b", "c") for node in (a, b, c)]
            assert views[0] == views[1] == views[2]
            await a.end()  # the coordinator leaves: b takes over and says so
            after = [await node.until("b", "c") for node in (b, c)]
            assert after[0] == after[1]
            assert after[0].epoch > views[0].epoch
            assert after[0].token > views[0].token
            for node in (b, c):
                epochs = [view.epoch for view in node.seen]
                assert epochs == sorted(set(epochs))
                contents = [view.nodes for view in node.seen]
                assert all(x != y for x, y in pairwise(contents))
                await node.end()

    simulate(story, seed=1)


def test_a_new_coordinator_that_finds_the_same_nodes_writes_nothing() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            a = Node(one, "a")
            await a.until("a")
            b = Node(two, "b")
            before = await b.until("a", "b")
            election = one.election("cache")
            assert await election.resign()  # a stands again behind b: the same two nodes
            await asyncio.sleep(5 * TTL_S)
            leader = await election.leader()
            assert isinstance(leader, incumbent.Leader)
            cell = await two.engine.read_cell("cache", CELL)
            assert b.seen[-1].nodes == before.nodes
            assert cell.version == b.seen[-1].epoch
            await a.end()
            await b.end()

    simulate(story, seed=2)


def test_a_deposed_coordinator_changes_nothing_and_a_follower_rides_out_an_outage() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            a = Node(one, "a")
            await a.until("a")
            b = Node(two, "b")
            await b.until("a", "b")
            cut(engine)
            view = await b.until("b")  # a's session ran out; b coordinates
            assert a.seen[-1].nodes == ("a", "b"), "cut off, it keeps the view in hand"
            mend(engine)
            back = [await node.until("a", "b", after=view.epoch) for node in (a, b)]
            assert back[0] == back[1]
            await a.end()
            await b.end()

    simulate(story, seed=3)


def test_a_cell_that_holds_something_else_is_refused() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            await cluster.engine.write_cells("cache", [CellWrite(CELL, b"not a view", None)], None)
            ring = Ring(cluster, "cache", node="a")
            with pytest.raises(InvalidInput, match="^cell: "):
                await anext(ring.views())
            with pytest.raises(InvalidInput, match="^cell: "):
                await ring.serve()

    simulate(story, seed=4)


@pytest.mark.slow
async def test_the_ring_on_a_real_engine(tmp_path: Path) -> None:
    url = f"local://{tmp_path / 'x'}"
    async with incumbent.connect(url, ttl=2.0) as one, incumbent.connect(url, ttl=2.0) as two:
        a, b = Node(one, "a"), Node(two, "b")
        views = [await node.until("a", "b") for node in (a, b)]
        assert views[0] == views[1]
        assert views[0].owner(b"key") == views[1].owner(b"key")
        await a.end()
        assert (await b.until("b")).owner(b"key") == "b"
        await b.end()
