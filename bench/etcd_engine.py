"""What the etcd engine's calls take, and how long until somebody leads again. On a real etcd of one member and of three.

A holder is killed under a guardian: the time is from the signal to the next leader's election. It resigns: from right before the
call to the next one's claim, in another client of ours; and, for comparison, to the line that a waiting `etcdctl elect` prints.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, show
from tests.engines.etcd_process import Candidates
from tests.engines.etcd_service import EtcdService, serving
from tests.servers.etcd import program

from incumbent.check.history import Kind
from incumbent.engines import registry
from incumbent.engines.api import Claimed, Engine, Member

TTL_S: Final = 60.0
GROUP: Final = "bench"
MS: Final = 1000.0


async def timed(act: Callable[[], Awaitable[object]]) -> float:
    began_s = time.perf_counter()
    await act()
    return (time.perf_counter() - began_s) * MS


class Calls:
    def __init__(self, one: Engine, two: Engine) -> None:
        self.one, self.two = one, two
        self._number = 0

    async def join(self, engine: Engine) -> tuple[bytes, Member]:
        self._number += 1
        session = await engine.open_session(TTL_S, f"bench-{self._number:032}")
        return session.ref, await engine.join(session, GROUP, "r", b"bench")

    async def resign(self) -> float:
        _, mine = await self.join(self.one)
        _, theirs = await self.join(self.two)
        waiting = await self.two.claim(theirs)
        assert not isinstance(waiting, Claimed)
        woken = asyncio.ensure_future(anext(self.two.watch(GROUP, waiting.cursor)))
        await asyncio.sleep(0.02)  # the watch is on its way

        async def handed_over() -> None:
            await self.one.leave(mine)
            await woken
            assert isinstance(await self.two.claim(theirs), Claimed)

        taken = await timed(handed_over)
        await self.two.leave(theirs)
        return taken

    async def resign_to_etcdctl(self, service: EtcdService) -> float:
        _, mine = await self.join(self.one)
        host, port = service.server.clients["m0"]
        command = [str(program("etcdctl")), f"--endpoints=http://{host}:{port}", "elect", GROUP, "theirs"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout
        roster = await self.one.roster(GROUP)
        if len(roster.members) < 2:
            await anext(self.one.watch(GROUP, roster.cursor))
        await asyncio.sleep(0.05)  # it looks who is in front, and waits
        began_s = time.perf_counter()
        await self.one.leave(mine)
        await process.stdout.readline()
        taken = (time.perf_counter() - began_s) * MS
        process.send_signal(signal.SIGTERM)
        await process.wait()
        return taken

    async def end(self) -> float:
        ender = registry.ender("etcd")
        ref, _ = await self.join(self.one)
        await ender.prepare(ref)
        taken = await timed(lambda: ender.end(ref))
        await ender.close()
        return taken


def killed(service: EtcdService, directory: Path, trials: int) -> list[float]:
    """Three candidates; who is killed is started again."""
    samples = []
    candidates = Candidates(directory, TTL_S, guardian=True)
    try:
        for turn, name in enumerate("abc"):
            candidates.start(name, service.url(turn))
        for _ in range(trials):
            holder, token = candidates.until(lambda *_: True)
            time.sleep(1.0)  # the others stand and wait, their guardians are ready
            candidates.signal(holder, signal.SIGKILL)
            candidates.until_above(token)
            events = candidates.history()
            fell = max(event.time_ns for event in events if event.kind is Kind.KILLED)
            rose = min(
                event.time_ns for event in events if event.kind is Kind.ELECTED and event.token > token
            )
            samples.append((rose - fell) / 1e6)
            candidates.start(holder, service.url())
        candidates.judged()
    finally:
        candidates.close()
    return samples


async def measure(members: int, trials: int, directory: Path) -> list[dict[str, Any]]:
    (directory / "etcd").mkdir(parents=True)
    with serving(directory / "etcd", members) as service:
        one, two = await registry.connect(service.url(0)), await registry.connect(service.url(1))
        calls = Calls(one, two)
        session = await one.open_session(TTL_S, "the holder's own session of 32 c")
        member = await one.join(session, "held", "r", b"")
        found = [
            case("claim", [await timed(lambda: one.claim(member)) for _ in range(10 * trials)]),
            case("renew", [await timed(lambda: one.renew(session)) for _ in range(10 * trials)]),
            case("end_session", [await calls.end() for _ in range(trials)]),
            case("resigned", [await calls.resign() for _ in range(trials)]),
            case("killed", await asyncio.to_thread(killed, service, directory, trials)),
        ]
        rival = case("resigned_to_etcdctl", [await calls.resign_to_etcdctl(service) for _ in range(trials)])
        ours = next(each for each in found if each["name"] == "resigned")
        found.append(rival | {"ours_to_rival_p50": round(ours["p50_ms"] / rival["p50_ms"], 2)})
        for engine in (one, two):
            await engine.close()
    return [each | {"name": f"{each['name']}_{members}"} for each in found]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--trials", type=int, default=20, help="samples of what needs a fresh start (default 20)"
    )
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        cases = [
            row
            for members in (1, 3)
            for row in asyncio.run(measure(members, options.trials, Path(directory) / str(members)))
        ]
    show("etcd_engine", cases, as_json=options.json)


if __name__ == "__main__":
    main()
