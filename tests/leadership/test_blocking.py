"""The blocking face: the same elections from threads, on a real loop in a real daemon thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import incumbent
from incumbent import blocking
from incumbent.errors import EngineUnavailable, InvalidInput, LeadershipLost, Unsupported
from incumbent.leadership.portal import Portal
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from tests.leadership.test_real_time import run_script

TTL_S = 0.6
PATIENCE_S = 10.0


class Fault(Exception):
    """Of the user's own code."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[blocking.Cluster]:
    with incumbent.blocking.connect(f"local://{tmp_path}/x", ttl=TTL_S) as cluster:
        yield cluster


@pytest.fixture
def other(tmp_path: Path) -> Iterator[blocking.Cluster]:
    with blocking.connect(f"local://{tmp_path}/x", ttl=TTL_S) as cluster:
        yield cluster


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def interrupt_soon() -> None:
    """A Ctrl-C for this thread."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell that runs this in its background has it ignored
    threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()


def test_a_block_leads_and_leaves(cluster: blocking.Cluster) -> None:
    assert cluster.guarantees.fenced
    election = cluster.election("e", candidate="a", fenced=True)
    assert (election.name, election.candidate, election.fenced) == ("e", "a", True)
    assert "'e'" in repr(election)
    with election.campaign(b"here") as term:
        term.check()
        assert election.leader() == incumbent.Leader("a", term.token, b"here")
    assert (term.is_valid, term.reason) == (False, Reason.BODY_ENDED)
    assert election.leader() is None
    with election.campaign() as again:
        assert again.token > term.token


def test_a_block_is_handed_over(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    first = cluster.election("e", candidate="a", fenced=True)
    second = other.election("e", candidate="b", preference=incumbent.Preference(priority=2))
    led: list[str] = []

    def lead() -> None:
        with first.campaign() as term:
            led.append("a")
            until(lambda: term.handover_requested)

    def follow() -> None:
        with second.campaign():
            led.append("b")

    leading = in_thread(lead)
    until(lambda: led)
    assert first.proclaim(b"here")
    following = in_thread(follow)
    until(lambda: [c.priority for c in first.candidates()] == [0, 2])
    assert first.candidates()[0].value == b"here"
    assert first.handover("b").ok
    for thread in (leading, following):
        thread.join(PATIENCE_S)
    assert led == ["a", "b"]


def test_an_error_of_the_block_comes_out_as_itself(cluster: blocking.Cluster) -> None:
    for error in (Fault(), KeyboardInterrupt(), SystemExit(3), StopIteration()):
        with pytest.raises(type(error)) as raised, cluster.election("e").campaign():
            raise error
        assert raised.value is error
        assert [entry.name for entry in raised.traceback if "portal" in str(entry.path)] == []
    assert cluster.election("e").leader() is None


def test_a_block_learns_of_its_loss_by_asking(cluster: blocking.Cluster) -> None:
    """P28, P39: and the member does not leave before the block has ended."""
    election = cluster.election("e")
    with pytest.raises(LeadershipLost, match="resigned"), election.campaign() as term:
        resigning = in_thread(election.resign)
        until(lambda: not term.is_valid)
        assert election.leader() is not None
        term.check()
    resigning.join(PATIENCE_S)
    assert not resigning.is_alive()
    assert election.leader() is None


def test_resigning_from_inside_ends_the_block_there(cluster: blocking.Cluster) -> None:
    election = cluster.election("e")
    with pytest.raises(LeadershipLost, match="resigned"), election.campaign():
        election.resign()
        pytest.fail("the block went on")
    with pytest.raises(LeadershipLost, match="resigned"), election.try_campaign(PATIENCE_S):
        election.resign()
    assert not election.resign()
    assert election.leader() is None


@pytest.mark.slow
def test_a_thread_that_ends_without_leaving_its_block_is_released(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    """P21: nobody works there any more; the next one leads."""
    terms: list[Term] = []
    entered = cluster.election("e").campaign()
    in_thread(lambda: terms.append(entered.__enter__())).join(PATIENCE_S)
    assert terms[0].is_valid
    with other.election("e").try_campaign(PATIENCE_S) as term:
        assert term is not None
        assert term.token > terms[0].token
    assert terms[0].reason is Reason.BODY_DIED


def test_a_block_that_never_asked_is_told_at_its_end(cluster: blocking.Cluster) -> None:
    election = cluster.election("e")
    with pytest.raises(LeadershipLost, match="resigned"), election.campaign() as term:
        in_thread(election.resign)
        until(lambda: not term.is_valid)


def test_threads_lead_one_after_another(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    """P6, P25: of one cluster object and of several."""
    running: list[int] = []
    seen: list[int] = []

    def lead(election: blocking.Election) -> None:
        for _ in range(3):
            with election.campaign() as term:
                running.append(term.token)
                assert running == [term.token]
                seen.append(term.token)
                running.remove(term.token)

    threads = [in_thread(lambda c=c: lead(c.election("e"))) for c in (cluster, cluster, other)]  # type: ignore[misc]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(seen) == 9
    assert seen == sorted(set(seen))


def test_try_campaign_gives_none(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    with cluster.election("e").campaign(), other.election("e").try_campaign(0.05) as term:
        assert term is None
    with other.election("e").try_campaign(PATIENCE_S) as term:
        assert term is not None
        assert term.is_valid
    with pytest.raises(InvalidInput), other.election("e").try_campaign(0):
        pytest.fail("entered")


def test_an_interrupted_wait_leaves_nothing_behind(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    """P2, P4: Ctrl-C comes out, and the next in the queue leads at once."""
    with cluster.election("e", candidate="a").campaign():
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt), other.election("e", candidate="b").campaign():
            pytest.fail("entered")
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            other.election("e", candidate="b").run(lambda term: pytest.fail("elected"))
    with other.election("e", candidate="b").try_campaign(PATIENCE_S) as term:
        assert term is not None


def test_run_works_in_the_callers_thread_and_standby_beside_it(cluster: blocking.Cluster) -> None:
    """P7, P25: a standby has ended before work begins; a loss begins both anew."""
    election = cluster.election("e")
    here = threading.get_ident()
    order: list[str] = []
    tokens: list[int] = []

    def standby(stop: threading.Event) -> None:
        assert threading.get_ident() != here
        order.append("standby")
        stop.wait(PATIENCE_S)
        order.append("standby ended")

    def work(term: Term) -> str:
        assert threading.get_ident() == here
        order.append("work")
        tokens.append(term.token)
        if len(tokens) == 2:
            return "done"
        in_thread(election.resign)
        while True:
            term.check()
            time.sleep(0.001)

    assert election.run(work, standby=standby) == "done"
    assert order == ["standby", "standby ended", "work"] * 2
    assert tokens[0] < tokens[1]


def test_errors_of_work_and_standby_come_out_of_run(
    cluster: blocking.Cluster, other: blocking.Cluster
) -> None:
    election = cluster.election("e")
    for error in (Fault(), KeyboardInterrupt(), SystemExit(3)):

        def fail(_: object, error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            election.run(fail)
        assert raised.value is error
    with other.election("e").campaign(), pytest.raises(Fault):

        def standby(_: object) -> None:
            raise Fault

        election.run(lambda _: pytest.fail("elected"), standby=standby)
    for leader in election.observe():  # who was cancelled does not wait for its member to be gone
        if leader is None:
            break


def test_observing(cluster: blocking.Cluster, other: blocking.Cluster) -> None:
    sightings = cluster.election("e").observe()
    assert next(sightings) is None
    with other.election("e", candidate="b").campaign():
        leader = next(sightings)
        assert isinstance(leader, incumbent.Leader)
        assert leader.candidate == "b"
    assert next(sightings) is None
    sightings.close()


def test_what_is_closed_is_refused_and_who_waits_is_let_go(tmp_path: Path, other: blocking.Cluster) -> None:
    """P29: in whatever thread."""
    ended: list[BaseException] = []

    def wait(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            ended.append(error)

    with other.election("e").campaign():
        with blocking.connect(f"local://{tmp_path}/x", ttl=TTL_S) as cluster:
            election = cluster.election("e")
            sightings = election.observe()
            assert next(sightings) is not None
            waiting = [
                in_thread(lambda: wait(lambda: next(sightings))),
                in_thread(lambda: wait(lambda: election.run(lambda _: pytest.fail("elected")))),
                in_thread(lambda: wait(election.campaign().__enter__)),
            ]
            time.sleep(0.05)
        for thread in waiting:
            thread.join(PATIENCE_S)
        assert [type(error) for error in ended] == [EngineUnavailable] * 3
    with pytest.raises(EngineUnavailable, match="closed"):
        election.leader()
    with pytest.raises(EngineUnavailable, match="closed"), election.campaign():
        pytest.fail("entered")


def test_the_loops_own_thread_does_not_wait_for_itself() -> None:
    portal = Portal()

    async def nothing() -> None:
        return

    async def inside() -> None:
        portal.call(nothing())

    with pytest.raises(Unsupported):
        portal.call(inside())
    portal.close()
    portal.close()


FORKED = """
    import os, sys
    import incumbent

    read, write = os.pipe()
    try:
        with incumbent.blocking.connect(f"local://{sys.argv[1]}", ttl=0.6) as cluster:
            election = cluster.election("e")
            with election.campaign() as term:
                child = os.fork()
                if child == 0:
                    try:
                        election.leader()
                    except incumbent.EngineUnavailable:
                        os.write(write, f"{term.is_valid} {term.reason}".encode())
                    raise ZeroDivisionError
                status = os.waitpid(child, 0)[1]
                said = os.read(read, 100).decode()
                print(said, status, term.is_valid, election.leader().token == term.token)
    except ZeroDivisionError:
        sys.exit(7)
"""


@pytest.mark.slow
def test_a_forked_child_has_no_part_in_it(tmp_path: Path) -> None:
    """P75: it does not lead, nothing blocks there, and its blocks unwind without a word to the engine."""
    with run_script(FORKED, str(tmp_path / "x")) as process:
        try:
            said = process.communicate(timeout=20)[0]
        finally:
            process.kill()
    assert said == f"False forked {7 << 8} True True\n"


AT_THE_END = """
    import atexit, sys, threading
    from contextlib import ExitStack
    import incumbent

    leading, way = threading.Event(), sys.argv[2]
    stack = ExitStack()

    def lead():
        cluster = stack.enter_context(incumbent.blocking.connect(f"local://{sys.argv[1]}", ttl=0.6))
        with cluster.election("e", candidate=way).campaign() as term:
            leading.set()
            if way == "hanging":
                threading.Event().wait()
            while term.is_valid:
                threading.Event().wait(0.01)

    if way == "in main":
        cluster = stack.enter_context(incumbent.blocking.connect(f"local://{sys.argv[1]}", ttl=0.6))
        stack.enter_context(cluster.election("e").campaign())
        leading.set()
    else:
        threading.Thread(target=lead, daemon=True).start()
    leading.wait()
    if way in ("closed by atexit", "in main"):
        atexit.register(stack.close)
    print("the end", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["left alone", "hanging", "closed by atexit", "in main"])
def test_the_interpreter_ends_whatever_still_leads(tmp_path: Path, way: str) -> None:
    """P76: daemon threads that lead, a block that never ends, and closing from an exit handler, after the thread pools of
    the standard library are gone: the process ends by itself, and the next one leads."""
    with run_script(AT_THE_END, str(tmp_path / "x"), way) as process:
        try:
            assert process.communicate(timeout=20)[0] == "the end\n"
        finally:
            process.kill()
    assert process.returncode == 0
    with (
        blocking.connect(f"local://{tmp_path}/x", ttl=TTL_S) as cluster,
        cluster.election("e").try_campaign(PATIENCE_S) as term,
    ):
        assert term is not None
