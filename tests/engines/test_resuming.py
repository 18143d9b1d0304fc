"""A leader that is killed and started again with its file, on every engine: it need not wait for its own TTL, and is nobody else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from incumbent.check.history import Event, Kind
from incumbent.engines import registry
from incumbent.errors import StaleToken
from incumbent.fencing.sqlite import Fence
from incumbent.runtime.machine import machine_id
from tests.engines import user_program
from tests.engines.candidates import PATIENCE_S, Candidates, candidates
from tests.servers.every import EVERY
from tests.servers.packages import NotAvailable

pytestmark = pytest.mark.slow

TTL_S = 30.0
"""So long that nothing below can be its doing."""
TTL_S_OF_ZOOKEEPER = 10.0  # twenty ticks of the servers that tests start, which give no more


@pytest.mark.parametrize("engine", EVERY)
def test_a_restarted_leader_does_not_wait_for_its_own_ttl(engine: str, tmp_path: Path) -> None:
    """P6, P75: on the kernel's word alone. Not while it lives, though it is stopped; not on another host; whatever it forked."""
    (tmp_path / "server").mkdir()
    program = (user_program.__file__, str(tmp_path / "jobs.db"), str(tmp_path / "leader"))
    ttl_s = TTL_S_OF_ZOOKEEPER if engine == "zookeeper" else TTL_S
    try:
        with EVERY[engine](tmp_path / "server") as url, candidates(tmp_path, ttl_s, program) as standing:
            _resumed(tmp_path, url, standing, ttl_s, proves_death=engine == "local")
    except NotAvailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))


def _resumed(directory: Path, url: str, standing: Candidates, ttl_s: float, *, proves_death: bool) -> None:
    file = directory / "leader"
    standing.start("a", url)
    token = until_written(standing, 0)

    standing.stop("a")
    standing.start("b", url)
    standing.until(
        lambda: "is held by a process that lives" in standing.log.read_text(), "nobody was refused"
    )
    standing.go_on("a")
    before = len(accepted(standing, token - 1))
    standing.until(lambda: len(accepted(standing, token - 1)) > before, "the one that lives does not go on")

    # In a container a reboot proves nothing.
    for change in (leave_it, as_before_a_reboot) if machine_id() else (leave_it,):
        standing.kill("a")
        alter(file, change)
        started_s = time.monotonic()
        standing.start("a", url)
        successor = until_written(standing, token)
        assert time.monotonic() - started_s < ttl_s / 2
        refuse_late_write(directory / "jobs.db", token)
        token = successor

    if not proves_death:
        standing.kill("a")
        alter(file, as_of_another_host)
        standing.start("a", url)
        standing.until(lambda: "proves no death" in standing.log.read_text(), "the file was believed")
        assert asyncio.run(until_two_stand(url)) == token
    standing.check()


def accepted(standing: Candidates, above: int) -> list[Event]:
    """The writes that the resource took with a higher token."""
    return [event for event in standing.events(Kind.ACCEPTED) if event.token > above]


def until_written(standing: Candidates, above: int) -> int:
    standing.until(lambda: bool(accepted(standing, above)), f"nothing was written above {above}")
    return accepted(standing, above)[0].token


def refuse_late_write(database: Path, token: int) -> None:
    """What the dead one had still under way."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5.0)) as connection:
        fence = Fence(connection, user_program.ELECTION)
        with pytest.raises(StaleToken), fence.write(token):
            pytest.fail("it was accepted")


async def until_two_stand(url: str) -> int:
    """The token of the first, once somebody stands behind it."""
    engine = await registry.connect(url)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len((roster := await engine.roster(user_program.ELECTION)).members) < 2:
                await asyncio.sleep(0.05)
        assert roster.token is not None
        return roster.token
    finally:
        await engine.close()


# --- what the file says -----------------------------------------------------------------------------------------------

Origin: TypeAlias = dict[str, Any]


def alter(file: Path, change: Callable[[Origin], None]) -> None:
    page = msgspec.json.decode(file.read_bytes())
    change(page["origin"])
    file.write_bytes(msgspec.json.encode(page))


def leave_it(_: Origin) -> None:
    """It is as the dead one wrote it."""


def as_before_a_reboot(origin: Origin) -> None:
    origin["boot"] = "the one before"


def as_of_another_host(origin: Origin) -> None:
    origin.update(boot="another", machine="another")
