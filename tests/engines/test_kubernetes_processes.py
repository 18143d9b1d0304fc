"""The engine on Kubernetes in real processes that are killed and stopped, on the strict fake."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from incumbent.check import history
from incumbent.check.leadership import Verdict, judge
from incumbent.engines.api import Claimed, Member
from incumbent.engines.kubernetes import connect
from incumbent.engines.kubernetes.engine import KubernetesEngine
from incumbent.testing.kubernetes import Fault, Harm, KubernetesFake
from tests.engines.kubernetes_lab import joined, waits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 20.0


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.engines.kubernetes_process",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 24,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def line(of: asyncio.subprocess.Process) -> dict[str, str]:
    assert of.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        read: dict[str, str] = json.loads(await of.stdout.readline())
    return read


@pytest.fixture
async def fake() -> AsyncIterator[KubernetesFake]:
    async with KubernetesFake() as fake:
        yield fake


@pytest.fixture
def url(fake: KubernetesFake, tmp_path: Path) -> str:
    return f"kubernetes://default?kubeconfig={fake.kubeconfig(tmp_path / 'kubeconfig')}"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[KubernetesEngine]:
    engine = await connect(url)
    assert isinstance(engine, KubernetesEngine)
    yield engine
    await engine.close()


async def until_first(engine: KubernetesEngine, member: Member) -> Claimed:
    async with asyncio.timeout(PATIENCE_S):
        while not isinstance(answer := await engine.claim(member), Claimed):
            watch = engine.watch(member.group, answer.cursor)
            try:
                async with asyncio.timeout(answer.retry_after):
                    await anext(watch)
            except TimeoutError:
                pass
            finally:
                await watch.aclose()  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_silent_holder_is_succeeded_after_its_ttl(
    url: str, engine: KubernetesEngine, number: signal.Signals
) -> None:
    """P11, P15: and not sooner, counted from the last renewal that was seen; its token is lower."""
    ttl_s = 1.0
    async with process("hold", url, "e", str(ttl_s), "") as holder:
        held = await line(holder)
        _, heir = await joined(engine, ttl=600.0)
        assert (await waits(engine, heir)).behind != heir.id
        await asyncio.sleep(2 * ttl_s)  # renewed all the time
        await waits(engine, heir)
        holder.send_signal(number)
        silent_s = time.monotonic()
        claimed = await until_first(engine, heir)
        assert ttl_s * 0.74 < time.monotonic() - silent_s  # it renews every quarter of it
        assert claimed.token > int(held["token"])


async def test_a_guardian_ends_a_killed_holders_session(url: str, engine: KubernetesEngine) -> None:
    """DESIGN 4.4: long before its TTL of ten minutes."""
    async with process("hold", url, "e", "600", "guarded") as holder:
        held = await line(holder)
        _, heir = await joined(engine, ttl=600.0)
        await waits(engine, heir)
        holder.kill()
        assert (await until_first(engine, heir)).token > int(held["token"])


@pytest.mark.parametrize("trouble", ["signals", "server"])
async def test_what_processes_record_under_fire_is_judged_ok(
    fake: KubernetesFake, url: str, trouble: str
) -> None:
    """P10, P11, P18, P30: no overlap and rising tokens, over kills, stops past the TTL, lost answers, and an API server that
    goes away and comes back."""
    rng, ttl_s = random.Random(trouble), 0.8
    lines: list[str] = []

    async def read(of: asyncio.subprocess.Process) -> None:
        assert of.stdout is not None
        while text := await of.stdout.readline():
            lines.append(text.decode())

    async with (
        process("lead", url, "e", str(ttl_s)) as one,
        process("lead", url, "e", str(ttl_s)) as two,
        process("lead", url, "e", str(ttl_s)) as three,
    ):
        readers = [asyncio.create_task(read(each)) for each in (one, two, three)]
        async with asyncio.timeout(PATIENCE_S):
            while not lines:
                await asyncio.sleep(0.05)
        alive = [one, two, three]
        for turn in range(8):
            await asyncio.sleep(rng.uniform(0.3, 0.9))
            if trouble == "server":
                if turn % 3 == 2:
                    await fake.stop()
                    await asyncio.sleep(rng.uniform(0.1, 1.2))
                    await fake.start()
                for verb in ("create", "update", "delete", "list", "get"):
                    harm = rng.choice([Harm.DROP_REPLY, Harm.REFUSE, Harm.STATUS, Harm.STATUS_AFTER])
                    fake.faults.append(
                        Fault(harm, verb, skip=rng.randrange(6), status=rng.choice([429, 500, 503]))
                    )
                fake.compact()
            else:
                victim = rng.choice(alive)
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(ttl_s * rng.uniform(0.5, 2.0))
                victim.send_signal(signal.SIGCONT)
        fake.faults.clear()
        if trouble == "signals":
            stamp = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            one.kill()
            lines.append(json.dumps({"event": "killed", "time_ns": stamp, "process": str(one.pid)}))
        before = len([text for text in lines if '"elected"' in text])
        async with asyncio.timeout(PATIENCE_S):
            while len([text for text in lines if '"elected"' in text]) < before + 2:
                await asyncio.sleep(0.05)
        for each in (one, two, three):
            if each.returncode is None:
                os.kill(each.pid, signal.SIGKILL)
        await asyncio.gather(*readers)
    judgement = judge(history.parse(lines))
    assert judgement.verdict is Verdict.OK, judgement.findings
    assert len(judgement.leaderships) >= 3
