"""The history is gathered: complete, bounded, and cheap for terms in quick succession."""

from __future__ import annotations

import asyncio

from incumbent.engines.api import Cell
from incumbent.errors import EngineUnavailable
from incumbent.leadership import history
from incumbent.leadership.chronicle import GATHER_S, LAST_WORDS_S
from incumbent.leadership.history import HISTORY_CELL, RECORDS_MAX, Record
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import Lab


def records_of(lab: Lab, election: str = "e") -> tuple[Record, ...]:
    return history.read(lab.store.groups[election].cells.get(HISTORY_CELL, Cell(None, 0)))


def test_short_terms_in_a_row_share_a_write() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            tokens = []
            for _ in range(20):
                async with cluster.election("e", candidate="a").campaign() as term:
                    tokens.append(term.token)
            assert engine.calls.count("write_cells") <= 1
            await asyncio.sleep(2 * LAST_WORDS_S)
            assert engine.calls.count("write_cells") <= 2
            records = records_of(lab)
            assert [record.token for record in records] == tokens
            assert {record.reason for record in records} == {"body_ended"}

    simulate(story)


def test_a_term_that_goes_on_is_written_soon_after_it_began() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster, cluster.election("e", candidate="a").campaign() as term:
            await asyncio.sleep(2 * GATHER_S)
            (record,) = records_of(lab)
            assert (record.token, record.candidate, record.reason) == (term.token, "a", None)

    simulate(story)


def test_who_closes_the_cluster_object_leaves_a_complete_history() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            for name in ("e", "f"):
                async with cluster.election(name, candidate="a").campaign():
                    pass
        for name in ("e", "f"):
            (record,) = records_of(lab, name)
            assert record.reason == "body_ended"

    simulate(story)


def test_what_cannot_be_written_is_bounded_and_delays_nobody() -> None:
    """The newest are kept, as in the history itself."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            engine.fail_next("write_cells", EngineUnavailable("away"), times=3)
            tokens = []
            for _ in range(2 * RECORDS_MAX):
                async with cluster.election("e", candidate="a").campaign() as term:
                    tokens.append(term.token)
        records = records_of(lab)
        assert [record.token for record in records] == tokens[-RECORDS_MAX:]
        assert {record.reason for record in records} == {"body_ended"}

    simulate(story)
