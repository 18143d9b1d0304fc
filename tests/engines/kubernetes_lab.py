"""A fake API server, and engines on it whose clock the test moves."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from incumbent.engines.api import Claimed, Member, Session, Waiting
from incumbent.engines.kubernetes.access import Place, open_access
from incumbent.engines.kubernetes.client import Leases, Server
from incumbent.engines.kubernetes.engine import KubernetesEngine
from incumbent.testing.kubernetes import KubernetesFake
from tests.engines.go_candidate import GoCandidate

TTL_S = 10.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time_ns = 1_000_000_000_000

    def now_ns(self) -> int:
        return self.time_ns

    def now_s(self) -> float:
        return self.time_ns / 1e9

    def move(self, seconds: float) -> None:
        self.time_ns += round(seconds * 1e9)


class KubernetesLab:
    def __init__(self, fake: KubernetesFake, path: Path) -> None:
        self.fake = fake
        self.clock = Clock()
        self.place = Place(str(fake.kubeconfig(path / "kubeconfig")), "", "default")
        self.url = f"kubernetes://default?kubeconfig={self.place.kubeconfig}"
        self.server = Server(open_access(self.place))  # for looking, and for foreign candidates
        self._engines: list[KubernetesEngine] = []

    async def engine(self, *, timeout_s: float = 5.0) -> KubernetesEngine:
        server = Server(open_access(self.place))
        engine = KubernetesEngine(server, self.place, call_timeout_s=timeout_s, clock=self.clock)
        await engine._informer.start()
        self._engines.append(engine)
        return engine

    def go(self, name: str = "e", *, identity: str = "go-1", duration_s: int = 15) -> GoCandidate:
        return GoCandidate(self.server, name, identity, self.clock.now_s, duration_s)

    @property
    def leases(self) -> Leases:
        return self.server.until(asyncio.get_running_loop().time() + 5.0)

    async def close(self) -> None:
        for engine in self._engines:
            await engine.close()
        await self.server.close()


@asynccontextmanager
async def kubernetes_lab(path: Path) -> AsyncIterator[KubernetesLab]:
    async with KubernetesFake() as fake:
        lab = KubernetesLab(fake, path)
        try:
            yield lab
        finally:
            fake.faults.clear()
            await lab.close()


async def joined(engine: KubernetesEngine, group: str = "e", ttl: float = TTL_S) -> tuple[Session, Member]:
    session = await engine.open_session(ttl, secrets.token_hex(16))
    return session, await engine.join(session, group, secrets.token_hex(16), b"")


async def leading(engine: KubernetesEngine, group: str = "e", ttl: float = TTL_S) -> tuple[Session, Claimed]:
    session, member = await joined(engine, group, ttl)
    return session, await claimed(engine, member)


async def claimed(engine: KubernetesEngine, member: Member) -> Claimed:
    answer = await engine.claim(member)
    assert isinstance(answer, Claimed), answer
    return answer


async def waits(engine: KubernetesEngine, member: Member) -> Waiting:
    answer = await engine.claim(member)
    assert isinstance(answer, Waiting), answer
    return answer
