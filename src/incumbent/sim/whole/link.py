"""The engine's link to the cluster, from inside a voter's process: as a client does it, over the simulated network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from incumbent.errors import EngineUnavailable, OutcomeUnknown
from incumbent.ids import LeaseId, NodeId, Revision
from incumbent.kv.api import NO_LEASE, Command, Query, Result
from incumbent.node.api import Done, Outcome, Refused, Unknown
from incumbent.runtime.driver import Driver
from incumbent.sim.kernel import Kernel
from incumbent.sim.network import Network
from incumbent.sim.whole.process import Process
from incumbent.sim.whole.voter import WholeVoter

ATTEMPT_S: Final = 0.4
PAUSE_S: Final = 0.02
Ask = Callable[[Driver], "asyncio.Future[Outcome]"]


class SimLink:
    """engines.cluster.link.Link. Bound to one life of its voter's process."""

    def __init__(
        self, home: WholeVoter, voters: dict[NodeId, WholeVoter], kernel: Kernel, network: Network
    ) -> None:
        assert home.process is not None
        assert home.driver is not None
        self._home = home
        self._process: Process = home.process
        self._driver: Driver = home.driver
        self._voters = voters
        self._kernel = kernel
        self._network = network
        self._next = 0
        self._hint: NodeId | None = None  # who answered last, or was named as the leader

    async def submit(self, command: Command, *, timeout: float) -> Result:
        return await self._call(lambda driver: driver.submit(command), timeout, changes=True)

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        return await self._call(lambda driver: driver.read(query, lease=lease), timeout, changes=False)

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        patience_ns = round(patience * 1e9)
        return await self._call(lambda driver: driver.renew(lease, patience_ns), timeout, changes=False)

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        return self._driver.watch(key, end, after)

    async def close(self) -> None: ...

    async def _call(self, ask: Ask, timeout: float, *, changes: bool) -> Result:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while loop.time() < deadline and self._process.alive:
            asked = self._choose()
            answer = await self._attempt(asked, ask, min(ATTEMPT_S, deadline - loop.time()))
            if isinstance(answer, Done):
                self._hint = asked.me
                return answer.result
            self._hint = answer.leader if isinstance(answer, Refused) and answer.leader != asked.me else None
            if changes and not isinstance(answer, Refused):
                raise OutcomeUnknown("the command was given to a voter, and no answer came")
            await asyncio.sleep(PAUSE_S)
        raise EngineUnavailable("no leader answered in time")

    def _choose(self) -> WholeVoter:
        leader = self._driver.leadership.leader or self._hint
        if leader in self._voters:
            return self._voters[leader]
        self._next += 1
        names = sorted(self._voters)
        return self._voters[names[self._next % len(names)]]

    async def _attempt(self, to: WholeVoter, ask: Ask, timeout: float) -> Outcome:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        for delay_ns in self._delays_ns(self._home, to):
            self._kernel.after(delay_ns, self._arrive, to, ask, answer)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            return Unknown()

    def _delays_ns(self, sender: WholeVoter, to: WholeVoter) -> list[int]:
        if not self._process.alive:
            return []
        return [0] if sender is to else list(self._network.delays_ns(sender.me, to.me))[:1]

    def _arrive(self, to: WholeVoter, ask: Ask, answer: asyncio.Future[Outcome]) -> None:
        if to.process is not None and to.driver is not None:
            to.process.call(partial(self._ask, to, to.driver, ask, answer))

    def _ask(self, to: WholeVoter, driver: Driver, ask: Ask, answer: asyncio.Future[Outcome]) -> None:
        try:
            asked = ask(driver)
        except EngineUnavailable:
            return
        asked.add_done_callback(
            lambda done: None if done.cancelled() else self._reply(to, answer, done.result())
        )

    def _reply(self, sender: WholeVoter, answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
        for delay_ns in self._delays_ns(sender, self._home):
            self._kernel.after(delay_ns, self._process.call, partial(_settle, answer, outcome))


def _settle(answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)
