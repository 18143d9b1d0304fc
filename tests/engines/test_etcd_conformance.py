"""The etcd engine passes the suite on real servers: on one member and on three, and what its version could change on an older one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

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
    "check_never_two_first",
    "check_waiting_leaves_no_gap",
    "check_tokens_rise",
    "check_tokens_rise_over_a_restart",
    "check_a_watch_wakes_for_members",
    "check_a_guard_passes_only_the_first",
    "check_a_guard_is_atomic_with_the_write",
    "check_cell_sizes",
)
KINDS = {"one": (1, VERSION), "three": (3, VERSION), "older": (1, VERSION_DEBIAN)}


class Harness:
    def __init__(self, service: EtcdService) -> None:
        self._service = service

    @asynccontextmanager
    async def service(self) -> AsyncIterator[EtcdService]:
        yield self._service


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdService]:
    """One for all checks: each uses names of its own, as the elections of a real etcd do."""
    members, version = KINDS[request.param]
    with serving(tmp_path_factory.mktemp("etcd"), members, version=version) as running:
        yield running


@pytest.mark.parametrize(
    ("service", "check"),
    [(kind, check) for kind in KINDS for check in CHECKS if kind != "older" or check.__name__ in SLICE],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
    indirect=["service"],
)
async def test_the_etcd_engine_conforms(service: EtcdService, check: Check) -> None:
    assert await run_check(check, Harness(service)) is None
