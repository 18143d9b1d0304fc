"""The etcd engine passes the suite on real servers: on one member and on three, and what its version could change on an older one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from incumbent.testing import CHECKS, Check, run_check
from tests.engines.etcd_service import EtcdService, serving
from tests.servers.etcd import VERSION, VERSION_DEBIAN

pytestmark = pytest.mark.slow

SLICE = (
    "check_open_session_is_idempotent",
    "check_a_retried_open_renews",
    "check_a_session_never_ends_early",
    "check_a_session_that_is_over_stays_over",
    "check_end_session_from_another_process",
    "check_leave_compares_the_revision",
    "check_names_never_interact",
    "check_waiting_leaves_no_gap",
    "check_tokens_rise",
    "check_tokens_rise_over_a_restart",
    "check_a_watch_wakes_for_members",
    "check_a_guard_passes_only_the_first",
    "check_a_guard_is_atomic_with_the_write",
    "check_cell_sizes",
)
AT_ONCE = 6


class Harness:
    def __init__(self, service: EtcdService) -> None:
        self._service = service

    @asynccontextmanager
    async def service(self) -> AsyncIterator[EtcdService]:
        yield self._service


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdService]:
    """One for all checks: each uses names of its own, as the elections of a real etcd do."""
    with serving(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_etcd_engine_conforms(one: EtcdService, check: Check) -> None:
    assert await run_check(check, Harness(one)) is None


@pytest.mark.parametrize(
    ("members", "version", "names"),
    [(3, VERSION, {check.__name__ for check in CHECKS}), (1, VERSION_DEBIAN, SLICE)],
    ids=["three", "older"],
)
async def test_it_conforms_with_many_at_once(
    members: int, version: str, names: Container[str], tmp_path: Path
) -> None:
    """On three members, and what an older version could do otherwise; the restart, which disturbs the others, last."""
    limit = asyncio.Semaphore(AT_ONCE)
    with serving(tmp_path, members, version=version) as service:

        async def run(check: Check) -> None:
            async with limit:
                assert await run_check(check, Harness(service)) is None, check

        wanted = [check for check in CHECKS if check.__name__ in names]
        restarting = [check for check in wanted if "restart" in check.__name__]
        async with asyncio.TaskGroup() as tasks:
            for check in wanted:
                if check not in restarting:
                    tasks.create_task(run(check), name=check.__name__)
        for check in restarting:
            await run(check)
