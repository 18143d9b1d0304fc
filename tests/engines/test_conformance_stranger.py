"""An engine that a stranger wrote from the protocol alone passes the suite, in injected time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from incumbent.engines.api import Engine
from incumbent.testing import CHECKS, Check, check_engine, run_check
from tests.engines.stranger import StrangerEngine, StrangerStore


class StrangerService:
    ttl_s = 0.2
    ttl_long_s = 3000.0
    expiry_late_max_s = 0.02
    patience_s = 2.0

    def __init__(
        self,
        store_type: type[StrangerStore] = StrangerStore,
        engine_type: type[StrangerEngine] = StrangerEngine,
        *,
        announces_expiry: bool = True,
    ) -> None:
        self._now_ns = 1
        self.store = store_type(lambda: self._now_ns, announces_expiry=announces_expiry)
        self._engine_type = engine_type

    async def client(self) -> Engine:
        return self._engine_type(self.store)

    def now_s(self) -> float:
        return self._now_ns / 1e9

    async def pass_time(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        self.store.tick()

    async def restart(self) -> bool:
        self.store.lose_watches()
        return True

    async def kill(self, client: Engine) -> bool:
        await client.close()
        return True


class StrangerHarness:
    def __init__(
        self,
        store_type: type[StrangerStore] = StrangerStore,
        engine_type: type[StrangerEngine] = StrangerEngine,
        *,
        announces_expiry: bool = True,
        patience_s: float = 2.0,
    ) -> None:
        self._store_type = store_type
        self._engine_type = engine_type
        self._announces_expiry = announces_expiry
        self._patience_s = patience_s

    @asynccontextmanager
    async def service(self) -> AsyncIterator[StrangerService]:
        service = StrangerService(
            self._store_type, self._engine_type, announces_expiry=self._announces_expiry
        )
        service.patience_s = self._patience_s
        yield service


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_stranger_conforms(check: Check) -> None:
    assert await run_check(check, StrangerHarness()) is None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_an_engine_that_is_asked_again_conforms(check: Check) -> None:
    """Expiry is announced by nobody: claim says when to ask again."""
    assert await run_check(check, StrangerHarness(announces_expiry=False)) is None


async def test_all_checks_run_without_a_test_runner() -> None:
    results = await check_engine(StrangerHarness())
    assert len(results) == len(CHECKS) == len({check.__name__ for check in CHECKS})
    assert set(results.values()) == {None}
