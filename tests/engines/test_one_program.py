"""One program, unchanged but for its URL, is led by every engine: two processes, a kill, and a resource that sees tokens rise."""

from __future__ import annotations

import os
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from incumbent.check.history import Event, Kind
from incumbent.engines.registry import BUILT_IN
from tests.engines import user_program
from tests.engines.candidates import Candidates, candidates
from tests.servers.every import EVERY
from tests.servers.packages import NotAvailable

pytestmark = pytest.mark.slow

TTL_S = 3.0


def test_no_engine_is_left_out() -> None:
    assert EVERY.keys() == BUILT_IN.keys()


@pytest.mark.parametrize("engine", EVERY)
def test_one_program_runs_on_every_engine(engine: str, tmp_path: Path) -> None:
    """The first is killed while the second may already wait; the second resigns on a signal, and goes; the first is back and leads."""
    database = tmp_path / "jobs.db"
    program = (user_program.__file__, str(database), "none")
    (tmp_path / "server").mkdir()
    try:
        with (
            EVERY[engine](tmp_path / "server") as url,
            candidates(tmp_path, TTL_S, program) as standing,
        ):
            standing.start("a", url)
            first = until_written(standing, 0)
            standing.start("b", url)
            standing.kill("a")
            second = until_written(standing, first.token)
            standing.start("a", url)
            assert standing.terminate("b") == 0
            until_written(standing, second.token)
            assert [event.candidate for event in standing.elected()] == ["a", "b", "a"]
            assert standing.until_ended(second.token).reason == "resigned"
            standing.check()
    except NotAvailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    assert written(database) == [event.token for event in standing.elected()]


def until_written(standing: Candidates, token: int) -> Event:
    """The first write that the resource accepted with a higher token."""

    def accepted() -> list[Event]:
        return [event for event in standing.events(Kind.ACCEPTED) if event.token > token]

    standing.until(lambda: bool(accepted()), f"nothing was written above {token}")
    return accepted()[0]


def written(database: Path) -> list[int]:
    """The tokens of all rows, in the order in which they were written, each once."""
    connection = sqlite3.connect(database)
    tokens = [token for (token,) in connection.execute("select token from jobs order by number")]
    connection.close()
    assert all(before <= after for before, after in pairwise(tokens))
    return sorted(set(tokens))
