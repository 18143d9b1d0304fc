"""The recipes from threads: the same ones, on a real loop in a real daemon thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from incumbent import blocking
from incumbent.errors import EngineUnavailable, InvalidInput, LeadershipLost
from incumbent.leadership.roll import UNKNOWN, Leader, Unknown
from incumbent.leadership.term import Term
from incumbent.recipes.blocking import Lock, Membership, Ring, Schedule, Semaphore
from incumbent.recipes.membership import News, Peer
from incumbent.recipes.ticks import Missed, Tick
from tests.engines.stranger import StrangerEngine, StrangerStore
from tests.leadership.lab import cut
from tests.leadership.test_blocking import PATIENCE_S, TTL_S, Fault, in_thread, interrupt_soon, until

EVERY_S = 0.02


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local://{tmp_path}/x"


@pytest.fixture
def cluster(url: str) -> Iterator[blocking.Cluster]:
    with blocking.connect(url, ttl=TTL_S) as cluster:
        yield cluster


@pytest.fixture
def other(url: str) -> Iterator[blocking.Cluster]:
    with blocking.connect(url, ttl=TTL_S) as cluster:
        yield cluster


def how_it_ends(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """It runs in a thread of its own; what it raises is in the list afterwards."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    return in_thread(run), raised


def names(told: tuple[Peer, ...]) -> list[str]:
    return [peer.name for peer in told]


def news(told: News | Unknown) -> News:
    assert isinstance(told, News)
    return told


def test_threads_hold_a_lock_one_after_another(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    """Of one cluster object and of several; one lock object serves many threads."""
    running: list[int] = []
    tokens: list[int] = []
    mine = Lock(cluster, "x", fenced=True)

    def work(lock: Lock) -> None:
        for _ in range(3):
            with lock.hold() as term:
                running.append(term.token)
                assert running == [term.token]
                tokens.append(term.token)
                running.remove(term.token)

    threads = [
        in_thread(lambda lock=lock: work(lock))  # type: ignore[misc]
        for lock in (mine, mine, Lock(other, "x", fenced=True))
    ]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(tokens) == 9
    assert tokens == sorted(set(tokens))


def test_it_is_the_lock_that_all_others_hold(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    with Lock(cluster, "x", holder="a").hold() as term:
        assert Lock(other, "x").holder() == Leader("a", term.token, b"")
        with other.election("lock/x").try_campaign(0.05) as as_election:
            assert as_election is None
    assert Lock(other, "x").holder() is None


def test_who_tries_waits_no_longer_than_it_said(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    with Lock(cluster, "x").hold(), Lock(other, "x").try_hold(timeout=0.05) as term:
        assert term is None
    with Lock(other, "x").try_hold(PATIENCE_S) as term:
        assert term is not None
        assert term.is_valid
    with pytest.raises(InvalidInput, match="^timeout: "), Lock(other, "x").try_hold(0):
        pytest.fail("entered")


def test_errors_and_a_ctrl_c_come_out_and_leave_nothing_behind(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    """P2, P4."""
    with pytest.raises(Fault), Lock(cluster, "x").hold():
        raise Fault
    with Lock(cluster, "x").hold():
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt), Lock(other, "x").hold():
            pytest.fail("entered")
    with Lock(other, "x").try_hold(PATIENCE_S) as term:
        assert term is not None


@pytest.mark.slow
def test_a_holder_that_is_cut_off_learns_it_by_asking_before_the_next_one_begins() -> None:
    """P28, P39: on an engine whose service cannot be reached any more. A block that never asks is told at its end."""
    store = StrangerStore(time.monotonic_ns)
    cut_off, reached = StrangerEngine(store), StrangerEngine(store)
    ends: list[float] = []
    with (
        blocking.connect(engine=cut_off, ttl=TTL_S) as one,
        blocking.connect(engine=reached, ttl=TTL_S) as two,
    ):

        def ask(term: Term) -> None:
            try:
                while True:
                    term.check()
                    time.sleep(0.001)
            finally:
                ends.append(time.monotonic())

        def hold_lock() -> None:
            with Lock(one, "x", fenced=True).hold() as term:
                cut(cut_off)
                ask(term)

        def hold_slot() -> None:
            with Semaphore(one, "x", 1, fenced=True).hold() as slot:
                until(lambda: not slot.term.is_valid)

        slot_ended = how_it_ends(hold_slot)
        until(lambda: isinstance(Semaphore(two, "x", 1).holders()[0], Leader))
        lock_ended = how_it_ends(hold_lock)
        until(lambda: Lock(two, "x").holder() is not None)
        with Lock(two, "x", fenced=True).try_hold(PATIENCE_S) as term:
            began = time.monotonic()
            assert term is not None
        for thread, raised in (slot_ended, lock_ended):
            thread.join(PATIENCE_S)
            assert [type(error) for error in raised] == [LeadershipLost]
    assert ends[0] < began


def test_slots_are_held_by_so_many_threads_at_a_time(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(of: blocking.Cluster) -> None:
        with Semaphore(of, "s", 2, fenced=True).hold() as slot:
            slot.term.check()
            inside.append(slot.fence)
            assert len(inside) == len(set(inside)), "each in a slot of its own"
            most.append(len(inside))
            until(lambda: len(most) >= 2)
            inside.remove(slot.fence)

    threads = [in_thread(lambda of=of: work(of)) for of in (cluster, cluster, other, other)]  # type: ignore[misc]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(most) == 4
    assert max(most) == 2
    assert Semaphore(cluster, "s", 2).holders() == (None, None)


def test_a_slot_is_tried_for_and_its_number_agreed(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    with Semaphore(cluster, "s", 1).hold(), Semaphore(other, "s", 1).try_hold(0.05) as slot:
        assert slot is None
    with pytest.raises(InvalidInput, match="^slots: "), Semaphore(other, "s", 2).hold():
        pytest.fail("entered")


def test_members_come_say_something_else_and_go(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    a, b = Membership(cluster, "m", member="a"), Membership(other, "m")
    assert (a.name, a.member) == ("m", "a")
    told = b.watch()
    assert next(told) == News(members=())
    with a.join("1"):
        assert names(news(next(told)).joined) == ["a"]
        in_thread(lambda: a.update("2")).join(PATIENCE_S)
        assert [peer.metadata for peer in news(next(told)).changed] == [b"2"]
        members = b.members()
        assert members is not UNKNOWN
        assert names(members) == ["a"]
    assert names(news(next(told)).left) == ["a"]
    told.close()
    with pytest.raises(InvalidInput, match="^metadata: "):
        a.update("3")


@pytest.mark.slow
def test_a_thread_that_ends_without_leaving_a_block_is_no_member_any_more(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    """P21."""
    entered = Membership(cluster, "m", member="a").join()
    in_thread(entered.__enter__).join(PATIENCE_S)
    assert Membership(other, "m").members() != ()
    until(lambda: Membership(other, "m").members() == ())


def test_ticks_are_worked_off_in_the_callers_thread_and_an_error_ends_it(cluster: blocking.Cluster) -> None:
    started: list[tuple[float, int]] = []
    here = threading.get_ident()
    schedule = Schedule(cluster, "s", every=EVERY_S, candidate="a")
    assert schedule.last() is None

    def work(tick: Tick, term: Term) -> None:
        assert threading.get_ident() == here
        term.check()
        started.append((tick.at, term.token))
        if len(started) == 3:
            raise Fault

    with pytest.raises(Fault):
        schedule.run(work)
    ticks = [at for at, _ in started]
    assert ticks == sorted(set(ticks))
    last = schedule.last()
    assert last is not None
    assert (last.at, last.token) == started[-1]


def test_a_schedule_goes_on_in_the_next_term_after_a_loss(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    """The work that was lost hears of it by asking, and its tick is not started again."""
    started: list[tuple[float, int]] = []
    schedule = Schedule(cluster, "s", every=EVERY_S, missed=Missed.SKIP, candidate="a", fenced=True)

    def work(tick: Tick, term: Term) -> None:
        started.append((tick.at, term.token))
        if len(started) > 1:
            raise Fault
        in_thread(lambda: evict(other))
        while True:
            term.check()
            time.sleep(0.001)

    def evict(of: blocking.Cluster) -> None:
        operations = of._cluster.election("schedule/s").operations
        of._portal.call(operations.evict("a"))

    with pytest.raises(Fault):
        schedule.run(work)
    (first, lost), (second, token) = started
    assert first < second
    assert lost < token


def test_what_runs_until_it_is_cancelled_ends_with_the_cluster_object(
    url: str, other: blocking.Cluster
) -> None:
    """P29: in whatever thread it waits, and so does who waits for a lock. Who led is told that it was closed."""
    started: list[Tick] = []
    with Lock(other, "x").hold(), ExitStack() as stack:
        cluster = stack.enter_context(blocking.connect(url, ttl=TTL_S))
        schedule = Schedule(cluster, "s", every=EVERY_S)
        ring = Ring(cluster, "r", node="a")
        membership = Membership(cluster, "m")
        told = membership.watch()
        assert next(told) == News(members=())
        running = [
            how_it_ends(lambda: schedule.run(lambda tick, _: started.append(tick))),
            how_it_ends(ring.serve),
            how_it_ends(lambda: next(told)),
            how_it_ends(Lock(cluster, "x").hold().__enter__),
        ]
        views = Ring(other, "r", node="b").views()
        assert next(views).nodes == ("a",)
        views.close()
        until(lambda: started)
        threading.Timer(0.05, stack.pop_all().close).start()
        for thread, _ in running:
            thread.join(PATIENCE_S)
        ends = [type(error) for _, raised in running for error in raised]
        assert ends == [LeadershipLost, LeadershipLost, EngineUnavailable, EngineUnavailable]
    with pytest.raises(EngineUnavailable, match="closed"):
        Lock(cluster, "y")
