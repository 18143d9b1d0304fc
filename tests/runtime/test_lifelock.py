"""A lock that ends with a process's memory: not before it, and not after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.fencing.forking import in_a_child

from incumbent.errors import Unsupported
from incumbent.runtime import lifelock
from incumbent.runtime.lifelock import LifeLock, holder_of
from incumbent.runtime.machine import FIRST_PID_NAMESPACE, machine_id

TAKE = "from incumbent.runtime.lifelock import LifeLock as L; from pathlib import Path; lock = L.take(Path({!r}))"


RACE = """
import os, signal, sys, time
from pathlib import Path
from incumbent.runtime.lifelock import LifeLock

lock, mark = Path(sys.argv[1]), Path(sys.argv[2])
for turn in range(50):
    while (held := LifeLock.take(lock)) is None:
        time.sleep(0.0005)
    mark.touch(exist_ok=False)  # fails when somebody else has the lock
    mark.unlink()
    if turn < 49:
        held.release()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leader.lock"


@contextmanager
def holder(path: Path, then: str, *within: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes the lock, does `then`, says so, and lives on. `within`: what stands before its command."""
    code = f"import os, sys, time; {TAKE.format(str(path))}; assert lock; {then}; print('done', flush=True); time.sleep(60)"
    process = subprocess.Popen([*within, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "done\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_at_a_time_also_within_a_process(path: Path) -> None:
    first = LifeLock.take(path)
    assert first is not None
    assert LifeLock.take(path) is None
    assert holder_of(path) == str(os.getpid())
    first.release()
    first.release()  # once is enough
    second = LifeLock.take(path)
    assert second is not None
    assert second.inode == first.inode
    second.release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_in_a_deleted_file_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted between its opening and its locking: whoever makes the next file of that name would have one, too."""
    monkeypatch.setattr("incumbent.runtime.lifelock.fcntl.flock", lambda *_: path.unlink())
    assert LifeLock.take(path) is None


def test_a_file_that_was_made_anew_has_another_inode(path: Path) -> None:
    """For as long as the deleted one is locked."""
    first = LifeLock.take(path)
    assert first is not None
    path.unlink()
    second = LifeLock.take(path)
    assert second is not None
    assert second.inode != first.inode
    first.release()
    second.release()


def test_where_there_can_be_none_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LifeLock.take(tmp_path / "no such directory" / "lock")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        LifeLock.take(tmp_path / "link")


def test_a_system_that_keeps_no_lock_with_a_mapping_is_found_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifelock, "_MAP_PRIVATE", lifelock._MAP_PRIVATE | 0x20)  # anonymous: of no file
    with pytest.raises(Unsupported, match="with its descriptor"):
        LifeLock.take(path)


def test_nobody_has_written_a_holder(path: Path) -> None:
    assert holder_of(path) == ""
    path.write_text("nobody")
    assert holder_of(path) == ""


@pytest.mark.slow
def test_it_is_held_for_as_long_as_the_process_lives(path: Path) -> None:
    """Also by one that closed all its descriptors, as daemons do, and by one that is stopped."""
    with holder(path, "os.closerange(3, 1000)") as process:
        assert LifeLock.take(path) is None
        assert holder_of(path) == str(process.pid)
        process.send_signal(signal.SIGSTOP)
        assert LifeLock.take(path) is None
        process.kill()
        process.wait()
        lock = LifeLock.take(path)
        assert lock is not None
        lock.release()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a pid namespace")
def test_it_is_held_against_other_pid_namespaces(path: Path) -> None:
    """As of a container that is started again: its pids mean nothing outside, and the lock means the same."""
    with holder(path, "assert os.getpid() == 1", "unshare", "--pid", "--fork", "--kill-child"):
        assert LifeLock.take(path) is None
        assert holder_of(path) == "1"
    while (lock := LifeLock.take(path)) is None:  # what was waited for is its parent
        time.sleep(0.001)
    lock.release()


@pytest.mark.slow
def test_processes_that_race_never_hold_it_together(path: Path, tmp_path: Path) -> None:
    """Each has it many times, and dies with it in the end: the others get past that."""
    command = [sys.executable, "-c", RACE, str(path), str(tmp_path / "mark")]
    racing = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in racing] == [-signal.SIGKILL] * len(racing)


@pytest.mark.slow
def test_a_forked_child_does_not_keep_it(path: Path) -> None:
    """P75: it lives on, and the lock is gone with the parent."""
    with holder(path, "os.fork() or time.sleep(5) or os._exit(0)") as process:
        pass
    assert process.returncode == -signal.SIGKILL
    lock = LifeLock.take(path)
    assert lock is not None
    lock.release()


@pytest.mark.slow
def test_a_forked_child_cannot_give_it_free(path: Path) -> None:
    """P75: the address is nothing of the child's."""
    lock = LifeLock.take(path)
    assert lock is not None

    def release() -> None:
        touched = list[object]()
        lock._libc = SimpleNamespace(munmap=lambda *what: touched.append(what))  # type: ignore[assignment]
        lock.release()
        assert not touched
        assert LifeLock.take(path) is None

    assert in_a_child(release) is None
    assert LifeLock.take(path) is None
    lock.release()


@pytest.mark.slow
def test_another_image_does_not_keep_it(path: Path) -> None:
    with holder(path, "os.execvp('sh', ['sh', '-c', 'echo done; exec sleep 60'])"):
        lock = LifeLock.take(path)
        assert lock is not None
        lock.release()


def test_a_container_has_no_machine_id(tmp_path: Path) -> None:
    """Its file is its image's, and the same on every host."""
    said, first, container = tmp_path / "machine-id", tmp_path / "first", tmp_path / "container"
    first.symlink_to(FIRST_PID_NAMESPACE)
    container.symlink_to("pid:[4026532201]")
    said.write_text("0123456789abcdef0123456789abcdef\n")
    assert machine_id(said, first) == "0123456789abcdef0123456789abcdef"
    assert machine_id(said, container) == ""
    assert machine_id(said, tmp_path / "no proc") == ""
    assert machine_id(tmp_path / "none", first) == ""
    for nothing in ("", "uninitialized\n", "0123"):
        said.write_text(nothing)
        assert machine_id(said, first) == ""
