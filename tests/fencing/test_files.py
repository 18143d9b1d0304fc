"""The fence over a file refuses a stale leader, whatever happens around it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    OutcomeUnknown,
    Overloaded,
    StaleToken,
    StorageCorrupt,
)
from incumbent.fencing import files, filestate
from incumbent.fencing.files import Draft, Fence
from incumbent.fencing.refusals import OnRefused
from incumbent.runtime import mounts
from tests.fencing.forking import in_a_child
from tests.fencing.suite import ELECTION, LockingSuite, Sink

WAIT_S = 0.1


class Notes(Sink):
    """A file of lines. Each write reads it under the lock and replaces it with one line more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        return Fence(self._path, name, wait_s=wait_s, on_refused=on_refused)

    def put(self, block: Draft, note: str) -> None:
        block.write(b"".join(f"{line}\n".encode() for line in (*self.notes(), note)))

    def notes(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    def elsewhere(self) -> str:
        return f"from incumbent.fencing.files import Fence\nfence = Fence({str(self._path)!r}, {ELECTION!r})"


class TestFiles(LockingSuite):
    blocked = r"process PID, which is stopped, did not give .*/notes\.lock free in 0\.3 s"

    @pytest.fixture
    def sink(self, path: Path) -> Sink:
        return Notes(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def write(fence: Fence, token: int, data: bytes) -> None:
    with fence.write(token) as file:
        file.write(data)


def test_the_file_is_replaced_as_a_whole(path: Path) -> None:
    fence = Fence(path, "scheduler")
    write(fence, 1, b"old")
    with path.open("rb") as reader, fence.write(1) as file:
        file.write(b"new ")
        file.write(b"and longer")
        assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"
    write(fence, 1, b"")
    assert path.read_bytes() == b""
    with fence.write(1):
        pass  # nothing at all is not the same as nothing
    assert sorted(p.name for p in path.parent.iterdir()) == ["notes", "notes.fence", "notes.lock"]


def test_permissions_stay_and_are_there_from_the_first_byte(path: Path) -> None:
    fence = Fence(path, "scheduler")
    path.write_bytes(b"secret")
    path.chmod(0o640)
    with fence.write(1) as file:
        file.write(b"another")
        assert stat.S_IMODE(path.with_name("notes.new").stat().st_mode) == 0o640
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    write(Fence(path, "scheduler"), 5, b"data")
    assert path.is_symlink()
    with pytest.raises(StaleToken):
        write(Fence(tmp_path / "elsewhere", "scheduler"), 4, b"late")
    assert (tmp_path / "elsewhere").read_bytes() == b"data"


def test_the_fence_is_durable_before_the_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P33: a crash between the two must not leave the data of a token that the fence does not know."""
    order: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(fd: int) -> None:
        order.append("sync " + Path(f"/proc/self/fd/{fd}").readlink().name)
        real_sync(fd)

    def rename(self: Path, target: Path) -> Path:
        order.append(f"rename {self.name}")
        return real_rename(self, target)

    fence = Fence(path, "scheduler")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    write(fence, 5, b"data")
    directory = f"sync {path.parent.name}"
    raised = ["sync notes.fence.new", "rename notes.fence.new", directory]
    assert order == ["sync notes.new", *raised, "rename notes.new", directory]


@pytest.mark.slow
@pytest.mark.parametrize("at", ["notes.fence.new", "notes.new"])
def test_a_writer_killed_at_a_rename_leaves_one_or_the_other(path: Path, at: str) -> None:
    """P33: whichever, the fence is never below the data."""
    script = (
        "import os, pathlib, sys\n"
        "from incumbent.fencing.files import Fence\n"
        "def rename(self, target, real=pathlib.Path.rename):\n"
        f"    os._exit(7) if self.name == {at!r} else real(self, target)\n"
        "pathlib.Path.rename = rename\n"
        "with Fence(sys.argv[1], 'scheduler').write(9) as file: file.write(b'nine')\n"
    )
    write(Fence(path, "scheduler"), 5, b"five")
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 7
    fence = Fence(path, "scheduler")
    assert path.read_bytes() == b"five"
    assert fence.highest() == (5 if at == "notes.fence.new" else 9)
    write(fence, 10, b"what was left behind does no harm")
    assert path.read_bytes() == b"what was left behind does no harm"


def test_a_full_disk_leaves_everything_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence = Fence(path, "scheduler")
    write(fence, 5, b"five")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(EngineUnavailable, match="No space left"):
                write(fence, 9, b"nine")
            if name == "fsync":
                with pytest.raises(StaleToken):  # though the count cannot be kept
                    write(fence, 4, b"late")
    assert (path.read_bytes(), fence.highest(), fence.refused()) == (b"five", 5, 0)
    assert fence.refusals.count == 1


def test_a_rename_that_may_not_be_durable_has_an_unknown_outcome(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = Fence(path, "scheduler")

    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for module in (filestate, files):
        with monkeypatch.context() as patch:
            patch.setattr(module, "sync_directory", broken)
            with pytest.raises(OutcomeUnknown, match="perhaps not durably"):
                write(fence, 9, b"nine")


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "fences": {}}',
        b'{"format": 1}',
        b'{"format": 1, "fences": {"scheduler": {"token": "-1", "holder": "", "refused": 0}}}',
        b'{"format": 1, "fences": {"scheduler": {"token": 9, "holder": "", "refused": 0}}}',
        b'{"format": 1, "fences": {"scheduler": {"token": "9", "holder": null, "refused": 0}}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_damaged_fence_lets_nobody_through(path: Path, kept: bytes) -> None:
    """P33: what cannot be read is not taken for nothing."""
    fence = Fence(path, "scheduler")
    path.with_name("notes.fence").write_bytes(kept)
    with pytest.raises(StorageCorrupt, match="is no fence of ours"):
        write(fence, 2**63 - 1, b"never")
    assert not path.exists()


def test_a_deleted_lock_is_noticed(path: Path) -> None:
    """P33: or two would hold the lock of two files of one name."""
    fence, other = Fence(path, "scheduler"), Fence(path, "scheduler")
    with (
        pytest.raises(EngineUnavailable, match="was deleted meanwhile; nothing was written"),
        fence.write(5) as file,
    ):
        file.write(b"five")
        path.with_name("notes.lock").unlink()
        write(other, 9, b"nine")
    assert path.read_bytes() == b"nine"
    with pytest.raises(StaleToken):
        write(fence, 5, b"five")


def test_a_forked_child_cannot_go_on_with_its_parents_write(path: Path) -> None:
    """P75, P50: nor does it release, keep or spoil what it inherits."""
    fence = Fence(path, "scheduler")
    with fence.write(5) as file:
        file.write(b"parent")
        assert in_a_child(lambda: file.write(b" and child")) is InvalidInput
        assert in_a_child(fence._lock.check) is InvalidInput
        with pytest.raises(EngineUnavailable, match=f"process {os.getpid()} did not give"):
            write(Fence(path, "scheduler", wait_s=0.0), 9, b"nine")
    assert path.read_bytes() == b"parent"


@pytest.mark.slow
def test_a_child_that_lives_on_does_not_keep_a_killed_parents_lock(path: Path) -> None:
    """P50: the lock ends with the process that took it."""
    script = (
        "import os, sys, time\n"
        "from incumbent.fencing.files import Fence\n"
        "with Fence(sys.argv[1], 'scheduler').write(5):\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(60)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.wait() == -signal.SIGKILL
        try:
            write(Fence(path, "scheduler", wait_s=0.0), 9, b"nine")
        finally:
            os.kill(child, signal.SIGKILL)
    assert path.read_bytes() == b"nine"


def test_a_forked_child_may_write_with_its_copy(path: Path) -> None:
    """P75: under the lock and the fence like anybody else, even if a thread of the parent was inside at the fork."""
    fence = Fence(path, "scheduler", wait_s=WAIT_S)
    with fence.write(5) as file:
        file.write(b"parent")
        assert in_a_child(lambda: write(fence, 9, b"nine")) is EngineUnavailable  # its parent holds it
    assert in_a_child(lambda: write(fence, 9, b"nine")) is None
    assert path.read_bytes() == b"nine"


def test_a_path_that_cannot_be_fenced_is_refused(tmp_path: Path) -> None:
    for bad, says in (
        (tmp_path / "missing" / "notes", "is no directory"),
        (tmp_path, "is no regular file"),
        (tmp_path / "x" / ("y" * 4000), "is too long"),
    ):
        with pytest.raises(InvalidInput, match=f"^path: .*{says}"):
            Fence(bad, "scheduler")


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P50: its locks are not to be trusted."""
    monkeypatch.setattr(mounts, "NETWORK_FILE_SYSTEMS", {mounts.kind_of(path.parent)})
    with pytest.raises(InvalidInput, match="is on a network file system"):
        Fence(path, "scheduler")


def test_a_directory_that_cannot_be_written_is_reported(path: Path) -> None:
    path.with_name("notes.lock").mkdir()
    with pytest.raises(EngineUnavailable, match=r"notes\.lock cannot be opened"):
        write(Fence(path, "scheduler"), 1, b"never")


def test_there_are_at_most_so_many_elections(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestate, "NAMES_MAX", 2)
    for name in ("a", "b"):
        Fence(path, name).prime(1)
    with pytest.raises(Overloaded):
        Fence(path, "c").prime(1)
    Fence(path, "a").prime(2)


def test_too_much_data_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DRAFT_BYTES_MAX", 3)
    with pytest.raises(InvalidInput, match="^data: "):
        write(Fence(path, "scheduler"), 1, b"1234")
    assert not path.exists()
