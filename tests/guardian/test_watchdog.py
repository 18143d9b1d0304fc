"""The process that kills: at the deadline, whatever holds the interpreter's lock, and never after a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from incumbent.errors import Unsupported
from incumbent.guardian import leash as leash_module
from incumbent.guardian.leash import Leash
from incumbent.guardian.watchdog import ORDER, READY, RELEASED, Watchdog
from incumbent.runtime.process import open_pidfd, process_start_ticks

NS = 1_000_000_000
PATIENCE_S = 20.0

pytestmark = pytest.mark.slow


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@contextmanager
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def watchdog_of(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    ticks = process_start_ticks(pid)
    command = [sys.executable, "-m", "incumbent.guardian.watchdog", str(pid), str(ticks)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == READY
            yield process
        finally:
            process.kill()


def order(watchdog: subprocess.Popen[bytes], key: int, in_s: float | None) -> int:
    deadline_ns = RELEASED if in_s is None else now_ns() + round(in_s * NS)
    assert watchdog.stdin is not None
    watchdog.stdin.write(ORDER.pack(key, deadline_ns))
    return deadline_ns


def test_it_kills_at_the_deadline_and_not_before() -> None:
    """P27: also a process that is stopped; and a deadline that was moved counts for no more."""
    with victim() as process, watchdog_of(process.pid) as watchdog:
        process.send_signal(signal.SIGSTOP)
        order(watchdog, 1, 0.1)
        deadline_ns = order(watchdog, 1, 0.4)
        order(watchdog, 2, 30)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        assert now_ns() >= deadline_ns
        assert watchdog.wait(PATIENCE_S) == 0


def test_what_is_released_is_never_killed() -> None:
    """P27: and without a deadline it goes when its orders end, or with the other process."""
    with victim() as process, watchdog_of(process.pid) as watchdog:
        order(watchdog, 1, 0.05)
        order(watchdog, 1, None)
        time.sleep(0.2)
        assert process.poll() is None
        assert watchdog.stdin is not None
        watchdog.stdin.close()
        assert watchdog.wait(PATIENCE_S) == 0
        assert process.poll() is None
    with victim() as process, watchdog_of(process.pid) as watchdog:
        order(watchdog, 1, 30)
        process.kill()
        assert watchdog.wait(PATIENCE_S) == 0


def test_the_end_of_orders_takes_no_deadline_back() -> None:
    """P27: it proves nothing; a body may still run."""
    with victim() as process, watchdog_of(process.pid) as watchdog:
        order(watchdog, 1, 0.2)
        assert watchdog.stdin is not None
        watchdog.stdin.close()
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_orders_that_wait_are_read_before_anything_is_done() -> None:
    """It was not running when its deadline passed; the order that moves it is in the pipe."""
    with victim() as process, watchdog_of(process.pid) as watchdog:
        order(watchdog, 1, 0.1)
        watchdog.send_signal(signal.SIGSTOP)
        time.sleep(0.15)
        order(watchdog, 1, None)
        watchdog.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        assert process.poll() is None


def test_orders_in_pieces_are_put_together() -> None:
    read, write = os.pipe()
    pid = os.getpid()
    ticks = process_start_ticks(pid)
    assert ticks is not None
    pidfd = open_pidfd(pid, ticks)
    assert pidfd is not None
    watchdog = Watchdog(pidfd, read)
    data = ORDER.pack(1, 5) + ORDER.pack(2, 6) + ORDER.pack(1, RELEASED)
    for at in range(0, len(data), 5):
        os.write(write, data[at : at + 5])
        watchdog._obey()
    assert watchdog._deadlines == {2: 6}
    for fd in (read, write, pidfd):
        os.close(fd)


def test_a_process_that_is_gone_needs_no_watchdog() -> None:
    with victim() as process:
        pid = process.pid
        process.kill()
        process.wait()
    command = [sys.executable, "-m", "incumbent.guardian.watchdog", str(pid), "1"]
    assert (
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode
        == 1
    )


# --- the leash: this process's side -----------------------------------------------------------------------------------


async def until_there(leash: Leash, *, but: int | None = None) -> int:
    async with asyncio.timeout(PATIENCE_S):
        while leash.watchdog_pid in (None, but):
            await asyncio.sleep(0.01)
    assert leash.watchdog_pid is not None
    return leash.watchdog_pid


async def test_a_leash_lets_go() -> None:
    """This test's own process is on it, and lives."""
    leash = await Leash.start()
    leash.hold(1, now_ns() + NS // 5)
    leash.hold(1, now_ns() + NS // 3)
    leash.release(1)
    leash.release(2)
    await asyncio.sleep(0.4)
    pid = leash.watchdog_pid
    assert pid is not None
    await leash.close()
    assert leash.watchdog_pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_watchdog_that_dies_is_replaced_and_told_everything(caplog: pytest.LogCaptureFixture) -> None:
    leash = await Leash.start()
    leash.hold(1, now_ns() + 60 * NS)
    first = await until_there(leash)
    os.kill(first, signal.SIGKILL)
    second = await until_there(leash, but=first)
    assert second != first
    leash.release(1)
    await leash.close()
    assert "starting another" in caplog.text


DEAF = """
    import asyncio, os, signal, sys, time
    from incumbent.guardian.leash import Leash

    def in_s(seconds):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + round(seconds * 1e9)

    async def main():
        leash = await Leash.start()
        first = leash.watchdog_pid
        os.kill(first, signal.SIGSTOP)
        leash.hold(1, in_s(0.5))
        while leash.watchdog_pid == first:
            leash.hold(2, in_s(60))
        leash.hold(1, in_s(60))
        os.kill(first, signal.SIGCONT)
        time.sleep(1)  # the loop is blocked, so nobody else sees to it
        while leash.watchdog_pid is None:
            await asyncio.sleep(0.01)
        leash.release(1)
        leash.release(2)
        print(leash.watchdog_pid != first)
        await leash.close()

    asyncio.run(main())
"""


def test_a_watchdog_that_does_not_listen_is_killed_before_it_acts_on_what_it_knows() -> None:
    """P27: its pipe is full, so it does not hear that a deadline was moved; left alone it would kill a healthy process."""
    command = [sys.executable, "-c", textwrap.dedent(DEAF)]
    done = subprocess.run(command, check=False, timeout=PATIENCE_S, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, b"True\n")


async def test_without_pidfd_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leash_module, "process_start_ticks", lambda _: None)
    with pytest.raises(Unsupported, match="pidfd"):
        await Leash.start()


HELD = """
    import asyncio, os, sys, time
    from incumbent.guardian.leash import Leash

    async def main():
        leash = await Leash.start()
        leash.hold(1, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 300_000_000)
        if sys.argv[1] == "forked":
            child = os.fork()
            if child == 0:
                leash.release(1)  # the child has no say
                os._exit(0)
            os.waitpid(child, 0)
        if sys.argv[1] in ("closed", "ended after closing"):
            await leash.close()
        if sys.argv[1] == "ended after closing":
            leash.release(1)
            time.sleep(0.6)
            return
        time.sleep(5)

    asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["blocked", "forked", "closed", "ended after closing"])
def test_what_is_held_is_killed(way: str) -> None:
    """P27, P75: a blocked loop moves nothing, a forked child takes nothing back, and closing does not while a body runs; a
    body that ends after that is left alone all the same."""
    started_s = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HELD), way], check=False, timeout=PATIENCE_S
    )
    assert process.returncode == (0 if way == "ended after closing" else -signal.SIGKILL)
    assert time.monotonic() - started_s < 5
