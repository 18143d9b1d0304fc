"""A body that does not end is ended by force, inside the lease."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from incumbent.engines.api import Session
from incumbent.errors import LeadershipLost, Unsupported
from incumbent.leadership import body as body_module
from incumbent.leadership.body import Body
from incumbent.leadership.connect import Cluster
from incumbent.leadership.oversight import OnStuck
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.leadership.world import log
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import NS, TTL_S, Lab, cut, mend, until
from tests.leadership.test_real_time import run_script

GRACE_S = 1.0
Forced = tuple[float, OnStuck, Reason]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[OnStuck, Reason]]:
    """What would have been done to a body; the time is for the story to note."""
    done: list[tuple[OnStuck, Reason]] = []

    def force(self: Body, how: OnStuck, election: str, reason: Reason) -> None:
        if self.running:
            done.append((how, reason))

    monkeypatch.setattr(body_module.Body, "force", force)
    return done


async def stubborn(cluster: Cluster, terms: list[Term], go: asyncio.Event, on_stuck: OnStuck) -> None:
    """Lead, and ignore all cancellations until `go`."""
    async with cluster.election("e", on_stuck=on_stuck.value, grace=GRACE_S, fenced=True).campaign() as term:
        terms.append(term)
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue


def test_force_comes_after_the_grace_and_inside_the_lease(forced: list[tuple[OnStuck, Reason]]) -> None:
    """P27: cut off, the body has its grace, and then, with the engine still holding the session, force is used on it."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        go = asyncio.Event()
        async with lab.connect(engine) as cluster:
            task = asyncio.create_task(stubborn(cluster, terms, go, OnStuck.EXIT))
            await until(lambda: terms)
            await asyncio.sleep(3 * TTL_S)
            assert terms[0].is_valid
            assert terms[0].remaining() <= TTL_S - GRACE_S
            cut(engine)
            await until(lambda: not terms[0].is_valid)
            lost_s = lab.now_s
            await until(lambda: forced)
            assert GRACE_S - 0.02 <= lab.now_s - lost_s <= GRACE_S + 0.02
            (session,) = lab.store.sessions.values()
            assert sim.clock.now_ns() < session.renewed_ns + TTL_S * NS
            assert forced[0] == (OnStuck.EXIT, Reason.RENEW_TIMEOUT)
            mend(engine)
            go.set()
            with pytest.raises(LeadershipLost):
                await task
            done = len(forced)
            await asyncio.sleep(TTL_S)
            assert len(forced) == done

    simulate(story)


def test_a_body_that_ends_in_its_grace_is_left_alone(forced: list[tuple[OnStuck, Reason]]) -> None:
    """P27."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()

        async def lead(cluster: Cluster) -> None:
            async with cluster.election("e", on_stuck="exit", grace=GRACE_S).campaign():
                cut(engine)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0.9 * GRACE_S)

        async with lab.connect(engine) as cluster:
            with pytest.raises(LeadershipLost):
                await lead(cluster)
            await asyncio.sleep(2 * TTL_S)
            mend(engine)
        assert forced == []

    simulate(story)


def test_draining_after_an_end_of_our_own_will_is_not_hurried(forced: list[tuple[OnStuck, Reason]]) -> None:
    """P27, P39: the session is renewed while the body ends; only when that fails, the end of the lease counts."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        go = asyncio.Event()
        async with lab.connect(engine) as cluster:
            task = asyncio.create_task(stubborn(cluster, terms, go, OnStuck.EXIT))
            await until(lambda: terms)
            resigning = asyncio.create_task(cluster.election("e").resign())
            await asyncio.sleep(10 * TTL_S)
            assert not terms[0].is_valid
            assert forced == []
            assert len(lab.members()) == 1
            cut(engine)
            await until(lambda: forced)
            (session,) = lab.store.sessions.values()
            assert sim.clock.now_ns() < session.renewed_ns + TTL_S * NS
            mend(engine)
            go.set()
            with pytest.raises(LeadershipLost):
                await task
            await resigning

    simulate(story)


def test_after_the_engines_word_the_grace_counts_from_there(forced: list[tuple[OnStuck, Reason]]) -> None:
    """P27: another one may lead already."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        go = asyncio.Event()
        async with lab.connect() as cluster:
            task = asyncio.create_task(stubborn(cluster, terms, go, OnStuck.RAISE))
            await until(lambda: terms)
            (member,) = lab.store.groups["e"].members
            lab.store.remove("e", member.id, member.revision)
            await until(lambda: not terms[0].is_valid)
            lost_s = lab.now_s
            await until(lambda: forced)
            assert GRACE_S - 0.02 <= lab.now_s - lost_s <= GRACE_S + 0.02
            assert forced[0][1] is Reason.EVICTED
            await until(lambda: len(forced) >= 3)  # it is raised again for as long as the body runs
            go.set()
            with pytest.raises(LeadershipLost):
                await task

    simulate(story)


def test_a_blocked_loop_does_not_hinder_it(forced: list[tuple[OnStuck, Reason]]) -> None:
    """P20, P27: all of it happens on the alarm's thread."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            with pytest.raises(LeadershipLost, match="loop_stall"):
                async with cluster.election("e", on_stuck="kill", grace=GRACE_S).campaign():
                    before_ns = sim.clock.now_ns()
                    sim.block_loop(TTL_S - 0.05)
                    assert forced[0] == (OnStuck.KILL, Reason.LOOP_STALL)
                    assert sim.clock.now_ns() - before_ns < TTL_S * NS

    # The process that kills has its own tests, and knows only real time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("incumbent.leadership.office.Office.leash", no_leash)
        simulate(story)


def test_a_lag_that_leaves_no_room_for_a_grace_is_refused() -> None:
    """And nothing is left behind."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        open_session = engine.open_session

        async def late(ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
            session = await open_session(ttl, request_id, release_delay=release_delay)
            return Session(session.ref, session.ttl, lag=0.4 * TTL_S)

        engine.open_session = late  # type: ignore[method-assign]
        async with lab.connect(engine) as cluster:
            with pytest.raises(Unsupported, match="longer TTL"):
                async with cluster.election("e", on_stuck="exit", grace=GRACE_S).campaign():
                    pytest.fail("entered")
            async with cluster.election("e").campaign() as term:
                assert term.is_valid

    simulate(story)


async def no_leash(_: object) -> None:
    return None


class Told:
    """A leash that writes down what it is told."""

    def __init__(self) -> None:
        self.deadlines: dict[int, int] = {}
        self.moves = 0

    def hold(self, key: int, deadline_ns: int) -> None:
        self.moves += 1
        self.deadlines[key] = deadline_ns

    def release(self, key: int) -> None:
        del self.deadlines[key]


def test_the_leash_is_told_every_deadline_beforehand_and_none_after_the_end(
    forced: list[tuple[OnStuck, Reason]],
) -> None:
    """P27: with each renewal, while the body drains too; and whoever is late with a move finds that it is over."""

    async def story(sim: Simulation) -> None:
        lab, leash = Lab(sim), Told()

        async def given(_: object) -> Told:
            return leash

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("incumbent.leadership.office.Office.leash", given)
            async with lab.connect() as cluster:
                election = cluster.election("e", on_stuck="kill", grace=GRACE_S)
                campaign = election.campaign()
                resigned: list[asyncio.Task[bool]] = []

                async def lead() -> None:
                    async with campaign as term:
                        for _ in range(100):
                            await asyncio.sleep(0.2)
                            (told_ns,) = leash.deadlines.values()
                            assert term._seat.deadline_ns + GRACE_S * NS == told_ns
                        moves.append(leash.moves)
                        resigned.append(asyncio.create_task(election.resign()))
                        with suppress(asyncio.CancelledError):
                            await asyncio.Event().wait()
                        await asyncio.sleep(2 * TTL_S)
                        moves.append(leash.moves)
                        assert len(leash.deadlines) == 1

                moves: list[int] = []
                with pytest.raises(LeadershipLost, match="resigned"):
                    await lead()
                assert moves[0] >= 10
                assert moves[1] > moves[0] + 2, "it drains, and is held for as long as its session is renewed"
                assert leash.deadlines == {}
                assert campaign._escalation is not None
                campaign._escalation.moved()
                assert leash.deadlines == {}
                await resigned[0]
        assert forced == []

    simulate(story)


# --- the force itself -------------------------------------------------------------------------------------------------


async def test_raising_in_a_thread_ends_python_code_and_nothing_after_it() -> None:
    """P27: forced over and over, the thread is left alone once its work has ended."""
    body = Body(asyncio.get_running_loop(), asyncio.create_task(asyncio.sleep(0)))
    raised: list[BaseException] = []
    ready = threading.Event()

    def work() -> None:
        try:
            with body:
                ready.set()
                while True:
                    time.sleep(0.001)
        except LeadershipLost as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    while body._thread is not None:
        body.force(OnStuck.RAISE, "e", Reason.STUCK)
    body.end()
    thread.join(10)
    assert not thread.is_alive()
    assert {str(error) for error in raised} == {"leadership lost: stuck (raised in a body that did not end)"}


async def test_force_does_not_wait_for_the_log() -> None:
    """P27: the stuck body itself may hold the log's lock, in a write that nobody reads."""
    task = asyncio.create_task(asyncio.Event().wait())
    body = Body(asyncio.get_running_loop(), task)
    handler = logging.StreamHandler()
    log.addHandler(handler)
    handler.acquire()
    try:
        force = threading.Thread(target=body.force, args=(OnStuck.RAISE, "e", Reason.STUCK))
        force.start()
        force.join(10)
        assert not force.is_alive()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        handler.release()
        log.removeHandler(handler)


async def test_a_body_that_has_ended_is_never_forced() -> None:
    task = asyncio.current_task()
    assert task is not None
    body = Body(asyncio.get_running_loop(), task)
    body.end()
    for how in OnStuck:
        body.force(how, "e", Reason.STUCK)
    await asyncio.sleep(0.01)
    assert task.cancelling() == 0


async def test_a_body_at_an_await_is_cancelled_again() -> None:
    """P27: nothing is raised in the loop itself."""
    body: list[Body] = []

    async def ignore() -> int:
        task = asyncio.current_task()
        assert task is not None
        body.append(Body(asyncio.get_running_loop(), task))
        cancellations = 0
        while cancellations < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1
        return cancellations

    task = asyncio.create_task(ignore())
    await asyncio.sleep(0)
    while not task.done():
        await asyncio.to_thread(body[0].force, OnStuck.RAISE, "e", Reason.STUCK)
        await asyncio.sleep(0)
    assert await task == 3


STUCK = """
    import asyncio, ctypes, sys, time
    import incumbent

    directory, on_stuck, what, ttl = sys.argv[1], sys.argv[2], sys.argv[3], 1.0

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def work(term):
        print(now() + term.remaining(), flush=True)
        if what == "C code":
            ctypes.PyDLL(None).usleep(3_000_000)  # holds the interpreter's lock
        else:
            end = now() + 3
            while now() < end:
                time.sleep(0.001)
        print("never ended", flush=True)

    async def lead():
        async with incumbent.connect(f"local://{directory}", ttl=ttl) as cluster:
            async with cluster.election("e", on_stuck=on_stuck, fenced=True).campaign() as term:
                work(term)

    def lead_blocking():
        import logging
        logging.disable(logging.CRITICAL)
        with incumbent.blocking.connect(f"local://{directory}", ttl=ttl) as cluster:
            async def away(_):
                raise incumbent.EngineUnavailable("cut off")
            cluster._cluster.engine.renew = away
            with cluster.election("e", on_stuck=on_stuck, fenced=True).campaign() as term:
                work(term)

    try:
        lead_blocking() if what == "a thread" else asyncio.run(lead())
    except incumbent.LeadershipLost as lost:
        print(lost.reason, now(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on_stuck", "what", "code"),
    [
        ("raise", "Python code", 0),
        ("raise", "a thread", 0),
        ("raise", "C code", None),
        ("exit", "Python code", body_module.EXIT_CODE),
        ("exit", "a thread", body_module.EXIT_CODE),
        ("exit", "C code", None),
        ("kill", "Python code", -signal.SIGKILL),
        ("kill", "a thread", -signal.SIGKILL),
        ("kill", "C code", -signal.SIGKILL),
    ],
)
def test_what_force_reaches(tmp_path: Path, on_stuck: str, what: str, code: int | None) -> None:
    """P27, P20: a body that blocks the loop, one in a thread, and C code that holds the interpreter's lock, which only another
    process can end: the others come when it lets go, long after the lease."""
    with run_script(STUCK, str(tmp_path / "x"), on_stuck, what) as process:
        try:
            said = process.communicate(timeout=20)[0].split()
        finally:
            process.kill()
    outlived_s = time.clock_gettime(time.CLOCK_BOOTTIME) - float(said[0])
    if code is None:
        assert outlived_s > 1.5
        return
    assert process.returncode == code
    assert outlived_s < 1.5
    if code == 0:
        assert said[1] in ("loop_stall", "renew_timeout")
