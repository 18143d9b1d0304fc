"""The ZooKeeper engine passes the suite on real servers: on one alone, and on an ensemble of three."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from incumbent.testing import CHECKS, Check, run_check
from tests.engines.zookeeper_service import ZooKeeperHarness, ZooKeeperService, service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[1, 3], ids=["one", "three"])
def zookeepers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ZooKeeperService]:
    """For all checks: each uses names of its own."""
    with service(tmp_path_factory.mktemp("zookeeper"), request.param) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_zookeeper_engine_conforms(check: Check, zookeepers: ZooKeeperService) -> None:
    skipped = await run_check(check, ZooKeeperHarness(zookeepers))
    if skipped:
        pytest.skip(skipped)
