"""The guarded process's side, in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from incumbent.errors import InvalidInput, Overloaded, Unsupported
from incumbent.guardian import helper as helper_module
from incumbent.guardian import supervisor
from incumbent.guardian.supervisor import Guardian
from tests.guardian.harness import Order, install_recorder, is_guardian

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = install_recorder(tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    return site


async def test_without_pidfd_the_ttl_alone_protects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(Unsupported, match="TTL alone protects"):
        await Guardian.start()


@pytest.mark.parametrize("executable", ["", "/nowhere/python"])
async def test_without_a_python_the_ttl_alone_protects(
    executable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(Unsupported, match="TTL alone protects"):
        await Guardian.start()


async def test_a_helper_that_dies_at_once_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(Unsupported, match="died at once"):
        await Guardian.start()


async def test_a_helper_that_says_nothing_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    silent = tmp_path / "python"
    silent.write_text(f"#!/bin/sh\necho $$ > {pids}\nexec sleep 60\n")
    silent.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(silent))
    monkeypatch.setattr(helper_module, "START_TIMEOUT_S", 0.3)
    with pytest.raises(Unsupported, match="said nothing"):
        await Guardian.start()
    assert not Path(f"/proc/{pids.read_text().strip()}").exists()


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(InvalidInput):
        await Guardian.start(end_timeout=bound)


async def test_bad_arguments_are_refused(site: Path, tmp_path: Path) -> None:
    guardian = await Guardian.start()
    with pytest.raises(InvalidInput):
        await guardian.watch("recorder", b"", 0.0)
    with pytest.raises(InvalidInput):
        await guardian.watch("recorder", b"x" * 5000, 0.0)
    with pytest.raises(InvalidInput):
        await guardian.watch("recorder", b"x", -1.0)
    with pytest.raises(InvalidInput):
        await guardian.watch("no-such-engine", b"x", 0.0)
    assert not guardian._watches
    await guardian.close()


async def test_sessions_are_bounded(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SESSIONS_MAX", 2)
    guardian = await Guardian.start()
    orders = [Order(tmp_path / f"{n}") for n in range(3)]
    for order in (*orders[:2], *orders[:2]):  # the same one again is no other
        await guardian.watch("recorder", order.ref, 0.0)
    with pytest.raises(Overloaded):
        await guardian.watch("recorder", orders[2].ref, 0.0)
    await guardian.forget(orders[0].ref)
    await guardian.watch("recorder", orders[2].ref, 0.0)
    await guardian.close()


async def test_after_close_nothing_is_guarded(tmp_path: Path) -> None:
    guardian = await Guardian.start()
    pid = guardian.helper_pid
    assert pid is not None
    await guardian.close()
    await guardian.close()
    assert not is_guardian(pid)
    assert guardian.helper_pid is None
    await guardian.forget(b"x")
    with pytest.raises(Unsupported):
        await guardian.watch("local", b"x", 0.0)


async def test_a_stopped_helper_is_killed_on_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_module, "QUIT_TIMEOUT_S", 0.2)
    guardian = await Guardian.start()
    pid = guardian.helper_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await guardian.close()
    assert not is_guardian(pid)


async def test_helpers_that_die_young_are_given_up(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Noticed, restarted a bounded number of times, and said; who waits is told."""
    monkeypatch.setattr(supervisor, "RESTARTS_MAX", 2)
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_MIN_S", 0.01)
    guardian = await Guardian.start()
    seen = set[int]()
    async with asyncio.timeout(20):
        while not guardian._given_up:
            pid = guardian.helper_pid
            if pid is not None and pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
    assert len(seen) == 3
    assert guardian.helper_pid is None
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.WARNING, logging.ERROR]
    assert "TTL alone protects" in caplog.text
    with pytest.raises(Unsupported, match="TTL alone protects"):
        await guardian.watch("recorder", Order(tmp_path / "late").ref, 0.0)
    await guardian.close()


async def test_a_helper_that_lived_long_starts_the_count_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS_MAX", 1)
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_MIN_S", 0.01)
    monkeypatch.setattr(supervisor, "LIVED_S", 0.0)
    guardian = await Guardian.start()
    seen = set[int]()
    async with asyncio.timeout(20):
        while len(seen) < 3:
            pid = guardian.helper_pid
            if pid is not None and pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)
        while guardian.helper_pid in (None, *seen):
            await asyncio.sleep(0.01)
    await guardian.close()


async def test_who_waits_for_an_answer_gets_the_next_helpers(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_MIN_S", 0.01)
    guardian = await Guardian.start()
    pid = guardian.helper_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    watching = asyncio.create_task(guardian.watch("recorder", Order(tmp_path / "session").ref, 0.0))
    await asyncio.sleep(0.05)
    assert not watching.done()
    os.kill(pid, signal.SIGKILL)
    await watching
    assert guardian.helper_pid not in (None, pid)
    await guardian.close()


async def test_a_helper_that_never_answers_leaves_it_unknown(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from incumbent.errors import OutcomeUnknown

    monkeypatch.setattr(supervisor, "ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(helper_module, "QUIT_TIMEOUT_S", 0.1)
    guardian = await Guardian.start()
    assert guardian.helper_pid is not None
    os.kill(guardian.helper_pid, signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown):
        await guardian.watch("recorder", Order(tmp_path / "session").ref, 0.0)
    await guardian.close()


def test_the_guarded_process_can_be_a_script(tmp_path: Path) -> None:
    """The helper starts with -P and no working directory of ours: a module beside the script is not its business."""
    (tmp_path / "asyncio.py").write_text("raise SystemExit('shadowed')\n")
    script = (
        "import sys; sys.path.remove(''); import asyncio; from incumbent.guardian.supervisor import Guardian\n"
        "async def main():\n    guardian = await Guardian.start()\n    await guardian.close()\nasyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
