"""The fence over SQLite refuses a stale leader, whatever happens around it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, StaleToken, Unsupported
from incumbent.fencing.holder import reader_of, writer_of
from incumbent.fencing.refusals import OnRefused
from incumbent.fencing.sql import Check
from incumbent.fencing.sqlite import Fence
from tests.fencing.forking import in_a_child
from tests.fencing.suite import ELECTION, LockingSuite, Sink


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


class Database(Sink):
    """A table of notes in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        connect(path)

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        return Fence(connect(self._path, timeout=wait_s), name, on_refused=on_refused)

    def put(self, block: sqlite3.Cursor, note: str) -> None:
        block.execute("insert into runs values (?)", (note,))

    def notes(self) -> list[str]:
        return notes(self._path)

    def elsewhere(self) -> str:
        return (
            "import sqlite3\nfrom incumbent.fencing.sqlite import Fence\n"
            f"fence = Fence(sqlite3.connect({str(self._path)!r}, isolation_level=None), {ELECTION!r})"
        )


STOPPED = r"database is locked: not free in 0\.3 s; process PID, which is stopped, holds it now"


class TestSqlite(LockingSuite):
    blocked = STOPPED

    @pytest.fixture
    def sink(self, database: Path) -> Sink:
        return Database(database)


class TestSqliteWithAWriteAheadLog(LockingSuite):
    blocked = STOPPED

    @pytest.fixture
    def sink(self, database: Path) -> Sink:
        connect(database).execute("pragma journal_mode = wal")
        return Database(database)


def test_a_writer_that_holds_the_database_is_waited_for_and_then_reported(database: Path) -> None:
    """Without a name where it is of this process: the kernel tells of others only."""
    holder = connect(database)
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    holder.execute("begin immediate")
    without_name = "another writer did not end its transaction in 0.05 s; is it stopped inside"
    with pytest.raises(EngineUnavailable, match=f"the database cannot be had: .*{without_name}"):
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


IN_ANOTHER_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    for statement in sys.argv[2:]:
        connection.execute(statement).fetchall()
except sqlite3.OperationalError as error:
    print(error, flush=True)
else:
    print("inside", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(database: Path, *statements: str) -> Iterator[tuple[int, str]]:
    """Its pid, and what became of the statements."""
    with subprocess.Popen(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(database), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()


def test_a_reader_of_another_process_is_named(database: Path) -> None:
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    with another_process(database, "begin", "select * from runs") as (pid, said):
        assert said == "inside"
        with pytest.raises(EngineUnavailable, match=f"scheduler: process {pid} held the database"):
            write(fence, 1, "blocked")
    write(fence, 1, "free again")


def test_a_reader_is_not_taken_for_the_writer(database: Path) -> None:
    connect(database)
    with (
        another_process(database, "begin", "select * from runs") as (_, reads),
        another_process(database, "begin immediate") as (writer, writes),
    ):
        assert (reads, writes) == ("inside", "inside")
        assert writer_of(str(database)) == writer


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_asking_who_holds_it_gives_no_lock_of_this_process_away(database: Path, mode: str) -> None:
    """To close any descriptor of a file ends all the locks that its process has on it."""
    holder = connect(database)
    holder.execute(f"pragma journal_mode = {mode}")
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    holder.execute("begin immediate")
    with pytest.raises(EngineUnavailable):
        write(fence, 1, "blocked")
    with another_process(database, "begin immediate") as (_, said):
        assert said == "database is locked"
    holder.rollback()


def test_where_the_kernel_is_not_asked_nobody_is_named(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = Fence(connect(database, timeout=0.05), "scheduler")
    monkeypatch.setattr(sys, "platform", "darwin")
    with another_process(database, "begin immediate") as (_, said):
        assert said == "inside"
        with pytest.raises(EngineUnavailable, match="another writer did not end its transaction"):
            write(fence, 1, "blocked")


def test_a_database_in_memory_is_nobody_elses() -> None:
    """Its name is empty, which is a path, too: the working directory's."""
    assert writer_of("") is None
    assert reader_of("") is None


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


def test_a_connection_that_begins_transactions_by_itself_is_refused(database: Path) -> None:
    with pytest.raises(InvalidInput, match="^connection: "):
        Fence(sqlite3.connect(database), "scheduler")


def test_a_block_that_commits_by_itself_is_told_that_the_rest_was_not_fenced(database: Path) -> None:
    fence = Fence(connect(database), "scheduler")
    with pytest.raises(OutcomeUnknown, match="what it did then was not fenced"), fence.write(1) as cursor:
        cursor.execute("commit")


def test_a_forked_child_neither_writes_nor_ends_its_parents_write(database: Path) -> None:
    """P75: SQLite's connections do not survive a fork."""
    fence = Fence(connect(database), "scheduler")
    with fence.write(5) as cursor:
        cursor.execute("insert into runs values ('parent')")
        assert in_a_child(lambda: fence.prime(9)) is InvalidInput
    with fence.write(5) as cursor:
        cursor.execute("insert into runs values ('again')")
        assert in_a_child(lambda: fence._refuse_fork("leave a block of its parent's")) is InvalidInput
    assert (fence.highest(), notes(database)) == (5, ["parent", "again"])


def test_a_dropped_table_lets_nobody_through(database: Path) -> None:
    """P33: what is not there is not taken for a fence that nobody raised."""
    connection = connect(database)
    fence = Fence(connection, "scheduler")
    connection.execute("drop table incumbent_fence")
    for act in (lambda: fence.prime(5), fence.highest):
        with pytest.raises(EngineUnavailable, match="no such table"):
            act()


def test_an_old_sqlite_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(Unsupported, match=r"needs SQLite 3\.35"):
        Fence(connect(database), "scheduler")


def test_rows_that_are_mappings_are_read_too(database: Path) -> None:
    """P33: what a connection makes of its rows is its own business."""
    connection = connect(database)
    connection.row_factory = lambda cursor, row: {
        c[0]: v for c, v in zip(cursor.description, row, strict=True)
    }
    fence = Fence(connection, "scheduler")
    fence.prime(8, "a")
    with pytest.raises(StaleToken):
        fence.prime(7)
    assert (fence.highest(), fence.refused()) == (8, 1)


def test_the_check_works_inside_a_transaction_of_ones_own(database: Path) -> None:
    """P33: it stands or falls with the caller's writes; the count of refusals too."""
    check = Check("scheduler", paramstyle="qmark")
    connection = sqlite3.connect(database)  # begins transactions by itself, as PEP 249 says
    connection.execute("create table runs (note text)")
    connection.execute(check.schema)
    cursor = connection.cursor()
    check.run(cursor, 8)
    cursor.execute("insert into runs values ('taken back')")
    connection.rollback()
    check.run(cursor, 5)
    cursor.execute("insert into runs values ('five')")
    connection.commit()
    with pytest.raises(StaleToken):
        check.run(cursor, 4)
    connection.rollback()
    assert cursor.execute(check.state_text, check.state_parameters).fetchall() == [(5, "", 0)]
    assert check.refusals.count == 1
    assert notes(database) == ["five"]


@pytest.mark.parametrize("table", ["", "a b", "a.b.c", "1a", "a;", "ä", "a" * 64])
def test_a_table_that_is_no_plain_name_is_refused(table: str) -> None:
    with pytest.raises(InvalidInput, match="^table: "):
        Check("scheduler", table=table)


def test_an_unknown_way_to_write_parameters_is_refused() -> None:
    with pytest.raises(InvalidInput, match="^paramstyle: "):
        Check("scheduler", paramstyle="percent")  # type: ignore[arg-type]
