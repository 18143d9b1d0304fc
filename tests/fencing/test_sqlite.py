"""The fence over SQLite refuses a stale leader, whatever happens around it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, StaleToken
from incumbent.fencing.sqlite import TOKEN_MAX, Fence


def connect(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=timeout, check_same_thread=False)
    connection.execute("create table if not exists runs (note text)")
    return connection


@pytest.fixture(autouse=True)
def _closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From Python 3.13 on a connection that is not closed is a warning, and warnings are errors here."""
    opened: list[sqlite3.Connection] = []
    original = sqlite3.connect

    def remember(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(original(*args, **{"check_same_thread": False, **options}))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    yield
    for connection in opened:
        connection.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def write(fence: Fence, token: int, note: str) -> None:
    with fence.write(token) as cursor:
        cursor.execute("insert into runs values (?)", (note,))


def notes(path: Path) -> list[str]:
    return [row[0] for row in connect(path).execute("select note from runs order by rowid")]


def test_a_lower_token_is_refused_and_writes_nothing(database: Path) -> None:
    """P33, P34: also between processes, because the highest token stands where the data is."""
    fence = Fence(connect(database), "scheduler")
    write(fence, 5, "old leader")
    write(fence, 8, "new leader")
    with pytest.raises(StaleToken) as refusal:
        write(fence, 5, "late")
    assert (refusal.value.token, refusal.value.highest) == (5, 8)
    assert notes(database) == ["old leader", "new leader"]
    assert fence.refused() == 1


def test_an_equal_token_is_accepted(database: Path) -> None:
    fence = Fence(connect(database), "scheduler")
    write(fence, 5, "one")
    write(fence, 5, "two")
    assert notes(database) == ["one", "two"]


def test_what_the_block_did_and_the_fence_stand_or_fall_together(database: Path) -> None:
    fence = Fence(connect(database), "scheduler")
    with pytest.raises(ZeroDivisionError), fence.write(9) as cursor:
        cursor.execute("insert into runs values ('half')")
        raise ZeroDivisionError
    assert notes(database) == []
    assert fence.highest() == 0
    write(fence, 3, "the fence was not raised by a write that failed")


def test_an_empty_write_raises_the_fence(database: Path) -> None:
    """P34: a new leader can close the door before its first write."""
    fence = Fence(connect(database), "scheduler")
    with fence.write(8):
        pass
    with pytest.raises(StaleToken):
        write(fence, 7, "late")


def test_the_fence_is_durable_and_shared(database: Path) -> None:
    """P33: two connections, another process, and a restart see one fence."""
    first, second = Fence(connect(database), "scheduler"), Fence(connect(database), "scheduler")
    write(first, 8, "one")
    with pytest.raises(StaleToken):
        write(second, 7, "late")
    script = (
        "import sqlite3, sys\n"
        "from incumbent.errors import StaleToken\n"
        "from incumbent.fencing.sqlite import Fence\n"
        "fence = Fence(sqlite3.connect(sys.argv[1], isolation_level=None), 'scheduler')\n"
        "try:\n"
        "    with fence.write(6): pass\n"
        "except StaleToken as error:\n"
        "    print(error.highest)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(database)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "8\n"
    assert Fence(connect(database), "scheduler").highest() == 8


def test_elections_have_fences_of_their_own(database: Path) -> None:
    connection = connect(database)
    write(Fence(connection, "a"), 9, "a")
    write(Fence(connection, "b"), 2, "b")
    assert notes(database) == ["a", "b"]


def test_the_largest_token_fits(database: Path) -> None:
    fence = Fence(connect(database), "scheduler")
    write(fence, TOKEN_MAX, "last")
    assert fence.highest() == TOKEN_MAX == 2**63 - 1
    with pytest.raises(StaleToken):
        write(fence, TOKEN_MAX - 1, "late")


def test_a_writer_that_holds_the_database_is_waited_for_and_then_reported(database: Path) -> None:
    holder = connect(database)
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    holder.execute("begin immediate")
    with pytest.raises(EngineUnavailable, match="the database cannot be had"):
        write(fence, 1, "blocked")
    holder.rollback()
    write(fence, 1, "free again")
    assert notes(database) == ["free again"]


def test_a_reader_that_stands_in_the_way_of_the_commit_leaves_nothing_written(database: Path) -> None:
    """Certainly not done is said only of what was taken back."""
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    write(fence, 1, "before")
    reader = connect(database)
    reader.execute("begin")
    reader.execute("select * from runs").fetchall()
    with pytest.raises(EngineUnavailable, match="a reader held the database"):
        write(fence, 9, "blocked")
    reader.rollback()
    assert (fence.highest(), notes(database)) == (1, ["before"])
    write(fence, 2, "free again")


def test_a_commit_that_fails_otherwise_has_an_unknown_outcome(database: Path) -> None:
    """What a failing disk did with the commit, nobody here can tell."""

    class Failing(sqlite3.Connection):
        fails = False

        def commit(self) -> None:
            if self.fails:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            super().commit()

    connect(database)
    connection = sqlite3.connect(database, isolation_level=None, factory=Failing)
    fence = Fence(connection, "scheduler")
    connection.fails = True
    with pytest.raises(OutcomeUnknown, match="the commit failed: disk I/O error"):
        write(fence, 9, "lost?")
    connection.fails = False
    write(fence, 10, "the connection is usable again")


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database at all" * 100)
    with pytest.raises(EngineUnavailable, match="not a database"):
        Fence(sqlite3.connect(tmp_path / "x", isolation_level=None), "scheduler")


def test_a_connection_inside_a_transaction_is_refused(database: Path) -> None:
    connection = connect(database)
    fence = Fence(connection, "scheduler")
    connection.execute("begin")
    with pytest.raises(InvalidInput, match="^connection: is inside a transaction"):
        write(fence, 1, "never")


def test_racing_writers_never_write_below_the_highest(database: Path) -> None:
    """P33: check and write are one step, so the stored tokens never fall."""
    connect(database).execute("create table seen (token integer)")

    def writer(tokens: range) -> None:
        fence = Fence(connect(database), "scheduler")
        for token in tokens:
            try:
                with fence.write(token) as cursor:
                    cursor.execute("insert into seen values (?)", (token,))
            except StaleToken:
                continue

    threads = [threading.Thread(target=writer, args=(range(start, 60, 2),)) for start in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [row[0] for row in connect(database).execute("select token from seen order by rowid")]
    assert seen == sorted(seen)
    assert seen[-1] == 59


@pytest.mark.parametrize("token", [0, -1, 2**63, 1.0, True, "5", None])
def test_what_is_no_token_is_refused(database: Path, token: object) -> None:
    fence = Fence(connect(database), "scheduler")
    with pytest.raises(InvalidInput, match="^token: "):
        write(fence, token, "never")  # type: ignore[arg-type]
    assert notes(database) == []


def test_a_connection_that_begins_transactions_by_itself_is_refused(database: Path) -> None:
    with pytest.raises(InvalidInput, match="^connection: "):
        Fence(sqlite3.connect(database), "scheduler")


@pytest.mark.parametrize("name", ["", "x" * 1025, "\ud800", "a\0b"])
def test_a_bad_name_is_refused(database: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="^name: "):
        Fence(connect(database), name)
