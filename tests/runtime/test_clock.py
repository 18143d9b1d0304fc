"""The clock counts suspend, and the deadline thread acts on it whatever the event loop does."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from incumbent.errors import Unsupported
from incumbent.runtime import clock as clock_module
from incumbent.runtime.clock import BoottimeClock, Deadlines, boot_id
from incumbent.runtime.process import open_pidfd, process_start_ticks

MS = 1_000_000


def test_it_is_boottime() -> None:
    """P11: MONOTONIC stands still in suspend."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before <= BoottimeClock().now_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    # On a host that was never suspended both clocks say the same, so the times alone would not tell.
    assert clock_module._CLOCK_ID == time.CLOCK_BOOTTIME
    assert BoottimeClock.counts_suspend
    assert "counts suspend" in BoottimeClock().describe()


def test_one_boot_has_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    assert boot_id() == boot_id() != ""
    monkeypatch.setattr(clock_module, "BOOT_ID", Path("/nonexistent"))
    with pytest.raises(Unsupported):
        boot_id()


class Alarm:
    """Deadlines on the real clock, and what they called, in order."""

    def __init__(self) -> None:
        self.clock = BoottimeClock()
        self.deadlines = Deadlines(self.clock)
        self.called: queue.Queue[tuple[str, int]] = queue.Queue()

    def set(self, key: str, in_ms: int) -> int:
        at = self.clock.now_ns() + in_ms * MS
        self.deadlines.set(key, at, lambda: self.called.put((key, self.clock.now_ns())))
        return at


@pytest.fixture
def alarm() -> Alarm:
    return Alarm()


def test_callbacks_come_in_order_and_never_early(alarm: Alarm) -> None:
    late, soon = alarm.set("late", 20), alarm.set("soon", 10)
    first, second = alarm.called.get(timeout=5), alarm.called.get(timeout=5)
    assert [first[0], second[0]] == ["soon", "late"]
    assert first[1] >= soon
    assert second[1] >= late
    alarm.deadlines.close()


def test_a_past_deadline_is_called_at_once(alarm: Alarm) -> None:
    alarm.set("past", -1000)
    assert alarm.called.get(timeout=5)[0] == "past"
    alarm.deadlines.close()


def test_a_moved_deadline_counts_and_the_old_one_does_not(alarm: Alarm) -> None:
    alarm.set("a", 5)
    moved = alarm.set("a", 25)
    assert alarm.called.get(timeout=5)[1] >= moved
    assert alarm.called.empty()
    alarm.deadlines.close()


def test_a_cleared_deadline_is_not_called(alarm: Alarm) -> None:
    alarm.set("cleared", 10)
    alarm.deadlines.clear("cleared")
    alarm.set("kept", 20)
    assert alarm.called.get(timeout=5)[0] == "kept"
    assert alarm.called.empty()
    alarm.deadlines.close()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_callback_that_raises_does_not_stop_the_thread(
    alarm: Alarm, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """SystemExit would end a thread without a word, and with it the enforcement of everybody's deadlines."""

    def fail() -> None:
        raise error("on purpose")

    alarm.deadlines.set("bad", 0, fail)
    alarm.set("good", 5)
    assert alarm.called.get(timeout=5)[0] == "good"
    assert "on purpose" in caplog.text
    alarm.deadlines.close()


def test_many_moves_do_not_grow_it_without_bound(alarm: Alarm) -> None:
    for n in range(10_000):
        alarm.set("moved", 60_000 + n)
    assert len(alarm.deadlines._heap) < 100
    alarm.deadlines.close()


def test_it_is_noticed_while_this_thread_is_busy(alarm: Alarm) -> None:
    """P20: a body that computes without ever awaiting does not keep its deadline from being noticed."""
    noticed = threading.Event()
    alarm.deadlines.set("x", alarm.clock.now_ns() + 20 * MS, noticed.set)
    until = alarm.clock.now_ns() + 5000 * MS
    while not noticed.is_set() and alarm.clock.now_ns() < until:
        pass
    assert noticed.is_set()
    alarm.deadlines.close()


def test_after_close_it_touches_no_descriptor(alarm: Alarm, tmp_path: Path) -> None:
    """The numbers may be somebody else's by then: a wake-up would be a byte in the middle of another's file."""
    alarm.deadlines.close()
    files = [os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT) for n in range(8)]
    assert alarm.deadlines._wake_write in files, "the number was given out again"
    alarm.set("late", 0)
    alarm.deadlines.clear("late")
    alarm.deadlines.close()
    assert [os.fstat(file).st_size for file in files] == [0] * 8
    assert alarm.called.empty()
    for file in files:
        os.close(file)


@pytest.mark.parametrize("armed", [["far"], []], ids=["while it waits", "while nothing is set"])
def test_it_keeps_deadlines_when_somebody_closes_its_descriptors(
    alarm: Alarm, caplog: pytest.LogCaptureFixture, armed: list[str]
) -> None:
    """Daemons close every descriptor they find. The thread goes on without, and says so."""
    for key in armed:
        alarm.set(key, 60_000)
    timer = alarm.deadlines._timer
    assert timer is not None
    for fd in (alarm.deadlines._wake_read, alarm.deadlines._wake_write, timer.fd):
        os.close(fd)
    at = alarm.set("x", 10)
    assert alarm.called.get(timeout=5)[1] >= at
    assert "deadlines are noticed up to" in caplog.text
    alarm.deadlines.close()


def test_it_goes_by_the_clock_it_was_given() -> None:
    """An hour behind the kernel's: nothing comes an hour early, and the thread does not spin."""

    class Behind:
        asked = 0

        def now_ns(self) -> int:
            self.asked += 1
            return BoottimeClock().now_ns() - 3600 * 1000 * MS

    clock = Behind()
    deadlines = Deadlines(clock)
    called: queue.Queue[int] = queue.Queue()
    at = clock.now_ns() + 20 * MS
    deadlines.set("x", at, lambda: called.put(clock.now_ns()))
    assert called.get(timeout=5) >= at
    assert clock.asked < 20
    deadlines.close()


def test_without_a_kernel_timer_it_still_keeps_deadlines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what is missing."""

    def missing(_: object) -> None:
        raise OSError("no timerfd here")

    monkeypatch.setattr(clock_module.TimerFd, "__init__", missing)
    alarm = Alarm()
    assert "no timer on CLOCK_BOOTTIME" in caplog.text
    at = alarm.set("x", 10)
    assert alarm.called.get(timeout=5)[1] >= at
    alarm.deadlines.close()


@pytest.mark.slow
def test_a_forked_child_has_no_deadlines_and_harms_nobodys() -> None:
    """P75."""
    script = """
import os, threading
from incumbent.runtime.clock import BoottimeClock, Deadlines
clock, called = BoottimeClock(), threading.Event()
deadlines = Deadlines(clock)
deadlines._lock.acquire()  # as the thread may hold it at this moment; nobody will release it in the child
child = os.fork()
if child != 0:
    deadlines._lock.release()
if child == 0:
    deadlines.set("c", 0, lambda: os._exit(9))
    deadlines.clear("c")
    deadlines.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
deadlines.set("p", clock.now_ns() + 1000000, called.set)
assert called.wait(5)
deadlines.close()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=20)


def test_a_process_is_named_by_pid_and_start() -> None:
    ticks = process_start_ticks(os.getpid())
    assert ticks is not None
    pidfd = open_pidfd(os.getpid(), ticks)
    assert pidfd is not None
    os.close(pidfd)
    assert open_pidfd(os.getpid(), ticks + 1) is None, "the pid was reused by another process"


def test_a_process_may_be_called_anything() -> None:
    """The command in /proc/pid/stat is any bytes, brackets and blanks included."""
    rename = "open('/proc/self/comm', 'wb').write(b') \\xff ('); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    ticks = process_start_ticks(child.pid)
    child.communicate(b"\n")
    assert ticks is not None
    assert ticks > 0


def test_where_proc_hides_processes_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """None would say that the process is dead."""
    monkeypatch.setattr("incumbent.runtime.process.process_start_ticks", lambda pid: None)
    pidfd = open_pidfd(os.getpid(), 1)
    assert pidfd is not None
    os.close(pidfd)


def test_without_pidfd_it_says_what_protects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(Unsupported, match="the TTL alone protects"):
        open_pidfd(os.getpid(), 1)


def test_a_dead_process_has_no_pidfd() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    ticks = process_start_ticks(child.pid)
    child.wait()
    assert ticks is not None
    assert process_start_ticks(child.pid) is None
    assert open_pidfd(child.pid, ticks) is None
