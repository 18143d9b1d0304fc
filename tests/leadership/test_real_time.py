"""What no simulation shows: real threads, a real stop, a real fork."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import incumbent
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.runtime.clock import BoottimeClock
from tests.engines.stranger import StrangerEngine, StrangerStore
from tests.leadership.lab import cut

TTL_S = 0.6
CLOCK = BoottimeClock()


async def lead(act: Callable[[Term, StrangerEngine], object]) -> str:
    """Lead on a strange engine in real time, `act`, and return the reason of the loss."""
    engine = StrangerEngine(StrangerStore(CLOCK.now_ns))
    async with incumbent.connect(engine=engine, ttl=TTL_S) as cluster:
        try:
            async with cluster.election("e").campaign() as term:
                act(term, engine)
                await asyncio.sleep(5 * TTL_S)
        except incumbent.LeadershipLost as lost:
            engine.on_request = None
            return lost.reason
    return "never"


@pytest.mark.slow
async def test_a_body_that_blocks_the_loop_cannot_hide_its_end() -> None:
    """P20, P27: the alarm's thread ends the term in time, while the loop stands; told by the term, not by the check."""

    def block(term: Term, _: StrangerEngine) -> None:
        ended_s: list[float] = []
        seat = term._seat

        def look() -> None:
            while seat._tenure.leads:  # without asking the seat, which would notice by itself
                time.sleep(0.001)
            ended_s.append(CLOCK.now_ns() / 1e9)

        looker = threading.Thread(target=look)
        looker.start()
        deadline_s = seat.deadline_ns / 1e9
        time.sleep(1.3 * TTL_S)
        looker.join()
        assert 0 <= ended_s[0] - deadline_s < 0.25 * TTL_S

    assert await lead(block) == Reason.LOOP_STALL


@pytest.mark.slow
async def test_a_body_in_a_thread_sees_the_end_by_asking() -> None:
    """P28: at latest at the deadline, without I/O."""
    looked: list[int] = []

    def work(term: Term, engine: StrangerEngine) -> None:
        cut(engine)

        def poll() -> None:
            asked_ns = CLOCK.now_ns()
            while term.is_valid:
                looked.append(asked_ns)
                time.sleep(0.001)
                asked_ns = CLOCK.now_ns()

        threading.Thread(target=poll).start()
        deadline_ns.append(term._seat.deadline_ns)

    deadline_ns: list[int] = []
    assert await lead(work) == Reason.RENEW_TIMEOUT
    assert looked
    assert looked[-1] < deadline_ns[0]


def test_many_threads_agree_that_it_is_over() -> None:
    """Once anybody saw False, everybody does, whatever renewals come in meanwhile; and it is told once."""
    from random import Random

    from incumbent.leadership.tenure import Lease, Tenure
    from incumbent.leadership.term import Seat

    for seed in range(20):
        lease = Lease(ttl_ns=10_000_000, lag_ns=0, sent_ns=CLOCK.now_ns(), rng=Random(seed))
        tenure = Tenure(lease)
        tenure.joined()
        now_ns = CLOCK.now_ns()
        tenure.elected(now_ns, now_ns)
        told: list[int] = []
        seat = Seat(tenure, CLOCK, lambda told=told: told.append(1))  # type: ignore[misc]
        over = threading.Event()
        revived: list[int] = []

        def ask(seat: Seat = seat, over: threading.Event = over, revived: list[int] = revived) -> None:
            for _ in range(300):
                was_over = over.is_set()
                if not seat.remaining_ns():
                    over.set()
                elif was_over:
                    revived.append(1)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            lease.renewal_confirmed(lease.renewal_sent(CLOCK.now_ns()))
            seat.renewed()
            if seed % 2:
                seat.end(Reason.RESIGNED)
        for thread in threads:
            thread.join()
        seat.end(Reason.RESIGNED)
        assert revived == []
        assert told == [1]


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


STOPPED = """
    import asyncio, json, sys, time
    import incumbent

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def main():
        async with incumbent.connect(f"local://{sys.argv[1]}", ttl=float(sys.argv[2])) as cluster:
            try:
                async with cluster.election("e").campaign() as term:
                    print("leading", flush=True)
                    last = now()
                    while True:
                        before = now()
                        if before - last > float(sys.argv[2]):  # the first instructions after the stop
                            print(json.dumps({"valid": term.is_valid, "remaining": term.remaining()}), flush=True)
                        last = before
                        await asyncio.sleep(0)
            except incumbent.LeadershipLost as lost:
                print(json.dumps(lost.reason), flush=True)

    asyncio.run(main())
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_past_its_ttl_knows_at_its_first_look(tmp_path: Path) -> None:
    """P11, with a real SIGSTOP."""
    with run_script(STOPPED, str(tmp_path / "x"), str(TTL_S)) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "leading\n"
            time.sleep(0.1)
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(2 * TTL_S)
            os.kill(process.pid, signal.SIGCONT)
            said = process.communicate(timeout=20)[0].splitlines()
        finally:
            process.kill()
    assert json.loads(said[-1]) == "expired"
    # The loop may have run before the body did; when the body was first, it saw that it was over.
    assert all(json.loads(line) == {"valid": False, "remaining": 0.0} for line in said[:-1])


FORKED = """
    import asyncio, json, os, sys
    import incumbent

    class InTheChild(Exception):
        pass

    async def main():
        read, write = os.pipe()
        try:
            async with incumbent.connect(f"local://{sys.argv[1]}", ttl=float(sys.argv[2])) as cluster:
                election = cluster.election("e")
                async with election.campaign() as term:
                    child = os.fork()
                    if child == 0:
                        seen = {"valid": term.is_valid, "remaining": term.remaining(), "reason": term.reason}
                        os.write(write, json.dumps(seen).encode())
                        raise InTheChild  # runs through both `async with`
                    status = os.waitpid(child, 0)[1]
                    await asyncio.sleep(2 * float(sys.argv[2]))
                    print(json.dumps({"child": json.loads(os.read(read, 1000)), "status": status,
                                      "valid": term.is_valid,
                                      "leader": (await election.leader()).token == term.token}))
        except InTheChild:
            os._exit(0)  # asyncio itself must not run in a forked child: it shares its epoll with the parent's loop

    asyncio.run(main())
"""


@pytest.mark.slow
def test_a_forked_child_never_leads_and_harms_nobody(tmp_path: Path) -> None:
    """P75: also when it unwinds the parent's blocks; the parent leads on."""
    with run_script(FORKED, str(tmp_path / "x"), str(TTL_S)) as process:
        try:
            said = process.communicate(timeout=20)[0]
        finally:
            process.kill()
    assert json.loads(said) == {
        "child": {"valid": False, "remaining": 0.0, "reason": "forked"},
        "status": 0,
        "valid": True,
        "leader": True,
    }
