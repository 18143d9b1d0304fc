"""The guardian with real processes: only the kernel's word ends a session, and then at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from incumbent.guardian.wire import Hello, Unable, decode_reply, encode
from tests.guardian.harness import (
    ROOT,
    SCHEME,
    Order,
    guarded,
    install_recorder,
    is_guardian,
    wait_until,
)

pytestmark = pytest.mark.slow

QUIET_S = 0.4
"""How long nothing must happen for a test to believe that nothing does."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return install_recorder(tmp_path / "site")


def stays_quiet(*orders: Order) -> bool:
    time.sleep(QUIET_S)
    return not any(order.ended or order.attempts for order in orders)


def test_a_killed_processs_sessions_are_ended_at_once(site: Path, tmp_path: Path) -> None:
    orders = [Order(tmp_path / f"session-{n}") for n in range(3)]
    with guarded(site) as process:
        helper = process.start()
        for order in orders:
            process.watch(order)
        wait_until(lambda: all(order.prepared for order in orders), "prepared before anybody died")
        killed_s = process.kill()
        for order in orders:
            wait_until(lambda order=order: order.ended, "ended")  # type: ignore[misc]
            assert order.ended_at_s - killed_s < 2.0
        wait_until(lambda: not is_guardian(helper), "the helper's purpose is gone, and so is it")


def test_the_release_delay_is_waited(site: Path, tmp_path: Path) -> None:
    """P44: what the dead process had sent may still arrive."""
    now, later = Order(tmp_path / "now"), Order(tmp_path / "later")
    with guarded(site) as process:
        process.start()
        process.watch(now)
        process.watch(later, 0.7)
        killed_s = process.kill()
        wait_until(lambda: later.ended, "ended")
        assert later.ended_at_s - killed_s >= 0.7
        assert now.ended_at_s - killed_s < 0.7


def test_a_stopped_process_is_not_dead(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        process.start()
        process.watch(order)
        process.send_signal(signal.SIGSTOP)
        assert stays_quiet(order)
        process.send_signal(signal.SIGCONT)
        assert process.do("helper")
        process.send_signal(signal.SIGSTOP)
        process.kill()
        wait_until(lambda: order.ended, "a stopped process can be killed too")


def test_a_closed_pipe_proves_nothing(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        helper = process.start()
        process.watch(order)
        process.do("close_pipe")
        assert stays_quiet(order)
        assert is_guardian(helper)
        process.kill()
        wait_until(lambda: order.ended, "it still waits for the kernel's word")


def test_quit_ends_nothing(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        helper = process.start()
        process.watch(order)
        process.do("close")
        assert not is_guardian(helper)
        process.kill()
        assert stays_quiet(order)


def test_what_was_said_before_a_death_is_heard_first(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        helper = process.start()
        process.watch(order)
        process.tell("quit_and_die")
        wait_until(lambda: not is_guardian(helper), "the helper has gone")
        assert stays_quiet(order)


def test_a_forgotten_session_is_left_alone(site: Path, tmp_path: Path) -> None:
    order, other = Order(tmp_path / "session"), Order(tmp_path / "other")
    with guarded(site) as process:
        process.start()
        process.watch(order)
        process.watch(other)
        process.do("forget", order.ref.hex())
        process.kill()
        wait_until(lambda: other.ended, "ended")
        assert stays_quiet(order)


def test_a_killed_helper_is_replaced(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        first = process.start()
        process.watch(order)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: process.do("helper") not in (None, first), "another helper")
        assert stays_quiet(order)
        assert any(f"WARNING guardian process {first} died" in said for said in process.do("said"))
        process.kill()
        wait_until(lambda: order.ended, "the new helper knows what the old one knew")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_meant_for_the_service_spares_the_helper(
    site: Path, tmp_path: Path, number: signal.Signals
) -> None:
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        helper = process.start()
        process.watch(order)
        assert os.getpgid(helper) != os.getpgid(process.pid)
        assert os.getsid(helper) != os.getsid(process.pid)
        os.kill(helper, number)
        process.send_signal(number)  # of which the guarded process dies, without a goodbye
        wait_until(lambda: order.ended, "ended")


def test_a_forked_child_is_not_the_guarded_process(site: Path, tmp_path: Path) -> None:
    """P75: the child holds the pipe open and calls close on what it inherited; neither is heard."""
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        process.start()
        process.watch(order)
        child = process.do("fork")
        try:
            assert stays_quiet(order)
            process.kill()
            wait_until(lambda: order.ended, "the kernel told of the parent, though its child lives")
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_childs_death_is_not_the_parents(site: Path, tmp_path: Path) -> None:
    """P75."""
    order = Order(tmp_path / "session")
    with guarded(site) as process:
        process.start()
        process.watch(order)
        os.kill(process.do("fork"), signal.SIGKILL)
        assert stays_quiet(order)


def test_references_are_nowhere_to_be_read(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "secret-session")
    with guarded(site) as process:
        helper = process.start()
        process.watch(order)
        for pid in (helper, process.pid):
            for file in ("cmdline", "environ"):
                read = Path(f"/proc/{pid}/{file}").read_bytes()
                assert read
                assert b"secret-session" not in read
                assert order.ref.hex().encode() not in read


def test_the_helper_holds_nothing_of_the_process_it_guards(site: Path, tmp_path: Path) -> None:
    with guarded(site) as process:
        inherited = tmp_path / "open"
        process.do("open", str(inherited))
        helper = process.start()
        assert str(Path(f"/proc/{helper}/cwd").readlink()) == "/"
        held = {str(fd.readlink()) for fd in Path(f"/proc/{helper}/fd").iterdir()}
        assert str(inherited) not in held
        assert {target.partition(":")[0] for target in held} <= {"pipe", "socket", "anon_inode", "/dev/null"}
        own = {str(Path(f"/proc/{process.pid}/fd/{fd}").readlink()) for fd in (0, 1)}
        assert not held & own


def test_an_ender_that_fails_is_asked_again(site: Path, tmp_path: Path) -> None:
    order = Order(tmp_path / "session", failures=2, unprepared=True)
    with guarded(site) as process:
        process.start()
        process.watch(order)
        wait_until(lambda: any("not prepared" in said for said in process.do("said")), "it says so")
        process.kill()
        wait_until(lambda: order.ended, "ended")
        assert order.attempts == 3


@pytest.mark.parametrize("behaviour", [{"hangs": True}, {"failures": 1_000_000}])
def test_the_helper_gives_up_in_the_end(site: Path, tmp_path: Path, behaviour: dict[str, object]) -> None:
    """It does not outlive its purpose; and a hung session keeps no other waiting."""
    hopeless, other = Order(tmp_path / "hopeless", **behaviour), Order(tmp_path / "other")
    with guarded(site) as process:
        helper = process.start(end_timeout=0.5)
        process.watch(hopeless)
        process.watch(other)
        process.kill()
        wait_until(lambda: other.ended, "ended")
        wait_until(lambda: not is_guardian(helper), "the helper has gone")
        assert hopeless.attempts >= 1
        assert not hopeless.ended


def test_an_unknown_scheme_is_refused(site: Path) -> None:
    with guarded(site) as process:
        process.start()
        answer = process.ask("watch", "nowhere", b"ref".hex(), 0.0)
        assert answer["raised"] == "InvalidInput"
        assert SCHEME in answer["text"]


def test_a_process_that_died_before_it_was_guarded() -> None:
    """The helper is told of a process that is gone, or whose number is another's by now."""
    for hello in (Hello(os.getpid(), 1, 1.0), Hello(2**22 - 1, 1, 1.0)):
        done = subprocess.run(
            [sys.executable, "-m", "incumbent.guardian"],
            input=encode(hello),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            timeout=20,
            check=False,
        )
        assert done.returncode == 1
        assert isinstance(decode_reply(done.stdout[4:]), Unable)


@pytest.mark.parametrize(
    "said", [b"", b"hello\n", b"\xff\xff\xff\xff", b"\0\0\0\2\x91\x01", b"\0\0\0\x06\x91\xa4quit"]
)
def test_who_starts_it_by_hand_is_told(said: bytes) -> None:
    """P77."""
    done = subprocess.run(
        [sys.executable, "-m", "incumbent.guardian"], input=said, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"incumbent.guardian: " in done.stderr


def test_the_helper_is_small(site: Path, tmp_path: Path) -> None:
    """Measured 20 MB with asyncio and a pidfd. A module that pulls in half of the package would show here."""
    with guarded(site) as process:
        helper = process.start()
        process.watch(Order(tmp_path / "session"))
        assert rss_mb(helper) < 32


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)
