"""The fence over PostgreSQL, on a real server: every isolation level, in transactions of one's own and in the fence's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, StaleToken
from incumbent.fencing.postgres import Fence
from incumbent.fencing.refusals import OnRefused
from incumbent.fencing.sql import Check
from tests.fencing.forking import in_a_child
from tests.fencing.suite import ELECTION, LockingSuite, Sink
from tests.servers.postgres import Postgres, postgres

pytestmark = pytest.mark.slow
LEVELS = ("read committed", "repeatable read", "serializable")
Connect = Callable[..., "psycopg.Connection[Any]"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(fsync="off") as running:
        yield running


@pytest.fixture
def connect(server: Postgres) -> Iterator[Connect]:
    """To an empty database; what is opened is closed at the end."""
    server.ask("drop table if exists incumbent_fence, runs")
    server.ask("create table runs (id bigserial primary key, note text)")
    opened: list[psycopg.Connection[Any]] = []

    def connect(level: str = "read committed", **options: Any) -> psycopg.Connection[Any]:
        settings = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
        opened.append(psycopg.connect(server.url(), options=settings, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(params=[True, False], ids=["autocommit", "transactions"])
def made(request: pytest.FixtureRequest, server: Postgres, connect: Connect) -> Sink:
    fence = Fence(connect(), "any")
    fence.create_table()
    fence.create_table()
    return Database(server, connect, autocommit=request.param)


class Database(Sink):
    def __init__(self, server: Postgres, connect: Connect, *, autocommit: bool) -> None:
        self._server = server
        self._connect = connect
        self._autocommit = autocommit

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        connection = self._connect(autocommit=self._autocommit)
        return Fence(connection, name, wait_s=wait_s, on_refused=on_refused)

    def put(self, block: Any, note: str) -> None:
        block.execute("insert into runs (note) values (%s)", (note,))

    def notes(self) -> list[str]:
        return [note for (note,) in self._server.ask("select note from runs order by id")]

    def elsewhere(self) -> str:
        return (
            "import psycopg\nfrom incumbent.fencing.postgres import Fence\n"
            f"fence = Fence(psycopg.connect({self._server.url()!r}), {ELECTION!r})"
        )


class TestPostgres(LockingSuite):
    blocked = r"another writer did not end its transaction in 0\.3 s; is it stopped inside"

    @pytest.fixture
    def sink(self, made: Sink) -> Sink:
        return made


@pytest.fixture
def fence(connect: Connect) -> Fence:
    made = Fence(connect(), "scheduler", wait_s=0.3)
    made.create_table()
    return made


def notes(server: Postgres) -> list[str]:
    return [note for (note,) in server.ask("select note from runs order by id")]


@pytest.mark.parametrize("level", LEVELS)
def test_an_old_snapshot_does_not_let_a_stale_write_through(
    server: Postgres, connect: Connect, fence: Fence, level: str
) -> None:
    """P33: the stale leader's transaction began, and read, before the new leader's first write."""
    fence.prime(5)
    with connect(level) as stale:
        stale.execute("select * from runs")
        with fence.write(8) as cursor:
            cursor.execute("insert into runs (note) values ('new')")
        expected = StaleToken if level == "read committed" else psycopg.errors.SerializationFailure
        with stale.cursor() as cursor, pytest.raises(expected):
            fence.check(cursor, 5)
        stale.rollback()
    assert notes(server) == ["new"]
    assert fence.highest() == 8


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("first", ["of an empty table", "of a known election"])
def test_a_check_waits_for_the_transaction_before_it(
    server: Postgres, connect: Connect, fence: Fence, level: str, first: str
) -> None:
    """P33: whether that one commits decides."""
    if first == "of a known election":
        fence.prime(1)
    for commits, token in ((False, 8), (True, 9)):
        newer, older = connect(level), connect(level)
        with newer.cursor() as cursor:
            fence.check(cursor, token)
            outcome: list[object] = []
            waiting = threading.Thread(target=_outcome, args=(fence, older, 5 if commits else 3, outcome))
            waiting.start()
            _until_waiting(server)
            (newer.commit if commits else newer.rollback)()
            waiting.join()
        if commits:
            expected = StaleToken if level == "read committed" else psycopg.errors.SerializationFailure
            assert isinstance(outcome[0], expected)
        else:
            assert outcome == ["accepted"]
    assert fence.highest() == 9


def _outcome(fence: Fence, connection: psycopg.Connection[Any], token: int, outcome: list[object]) -> None:
    try:
        with connection.cursor() as cursor:
            fence.check(cursor, token)
        connection.commit()
        outcome.append("accepted")
    except (StaleToken, psycopg.Error) as error:
        connection.rollback()
        outcome.append(error)


def _until_waiting(server: Postgres) -> None:
    for _ in range(2000):
        if server.ask("select 1 from pg_stat_activity where wait_event_type = 'Lock'"):
            return
    raise AssertionError("nobody waits for a lock")


@pytest.mark.parametrize("level", LEVELS)
def test_racing_transactions_never_write_below_the_highest(
    server: Postgres, connect: Connect, fence: Fence, level: str
) -> None:
    """P33: at every isolation level, with what could not be serialized tried again."""

    def writer(tokens: range) -> None:
        connection = connect(level)
        check = Check("scheduler", paramstyle="format")
        for token in tokens:
            while True:
                try:
                    with connection.transaction(), connection.cursor() as cursor:
                        check.run(cursor, token)
                        cursor.execute("insert into runs (note) values (%s)", (str(token),))
                except psycopg.errors.SerializationFailure:
                    continue
                except StaleToken:
                    pass
                break

    threads = [threading.Thread(target=writer, args=(range(start, 60, 3),)) for start in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [int(note) for note in notes(server)]
    assert seen == sorted(seen)
    assert seen[-1] == 59


def test_what_is_rolled_back_was_never_checked(connect: Connect, fence: Fence) -> None:
    """As how-to/fence-postgresql.md says: the raise is lost with the transaction, or with a savepoint from before it."""
    connection = connect()
    with connection.cursor() as cursor:
        fence.check(cursor, 8)
    connection.rollback()
    assert fence.highest() == 0
    with connection.cursor() as cursor:
        fence.check(cursor, 5)
        cursor.execute("savepoint after_the_check")
        cursor.execute("rollback to after_the_check")
        connection.commit()
        assert fence.highest() == 5
        cursor.execute("savepoint before_the_check")
        fence.check(cursor, 8)
        cursor.execute("rollback to before_the_check")
        connection.commit()
    assert fence.highest() == 5


def test_the_count_of_refusals_rolls_back_with_ones_own_transaction(connect: Connect, fence: Fence) -> None:
    fence.prime(8)
    connection = connect()
    with connection.cursor() as cursor, pytest.raises(StaleToken):
        fence.check(cursor, 5)
    connection.rollback()
    assert (fence.refused(), fence.refusals.count) == (0, 1)


@pytest.mark.parametrize(("paramstyle", "factory"), [("pyformat", "Cursor"), ("dollar", "RawCursor")])
def test_other_ways_to_write_parameters(
    connect: Connect, fence: Fence, paramstyle: Any, factory: str
) -> None:
    connection = connect(cursor_factory=getattr(psycopg, factory))
    other = Fence(connection, "scheduler", paramstyle=paramstyle)
    other.prime(8)
    with pytest.raises(StaleToken):
        fence.prime(7)
    assert (other.highest(), other.refused()) == (8, 1)


def test_rows_that_are_mappings_are_read_too(connect: Connect, fence: Fence) -> None:
    other = Fence(connect(row_factory=dict_row), "scheduler")
    other.prime(8, "a")
    with pytest.raises(StaleToken):
        other.prime(8, "b")
    assert (other.highest(), other.refused()) == (8, 1)


def test_the_check_works_on_an_event_loop(server: Postgres, fence: Fence) -> None:
    """Who has an asynchronous driver executes the statement and hands over the row."""
    fence.prime(8)
    check = Check("scheduler", paramstyle="pyformat")

    async def write(token: int) -> None:
        async with (
            await psycopg.AsyncConnection.connect(server.url()) as connection,
            connection.cursor() as cursor,
        ):
            await cursor.execute(check.text.encode(), check.parameters(token))
            check.read(await cursor.fetchone(), token)

    asyncio.run(write(9))
    with pytest.raises(StaleToken):
        asyncio.run(write(8))
    assert fence.highest() == 9


def test_a_table_in_a_schema_of_its_own(server: Postgres, connect: Connect) -> None:
    server.ask("drop schema if exists app cascade")
    server.ask("create schema app")
    fence = Fence(connect(), "scheduler", table="app.fences")
    fence.create_table()
    fence.prime(5)
    assert server.ask("select token from app.fences") == [(5,)]


def test_a_missing_table_is_said_to_be_missing(connect: Connect) -> None:
    fence = Fence(connect(), "scheduler")
    for act in (lambda: fence.prime(5), fence.highest):
        with pytest.raises(InvalidInput, match=r"^table: incumbent_fence is not there; run create_table"):
            act()


def test_many_may_make_the_table_at_once(connect: Connect) -> None:
    """PostgreSQL's "if not exists" is not proof against another one that makes it at the same time."""
    failed: list[Exception] = []

    def make(fence: Fence) -> None:
        try:
            fence.create_table()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(Fence(connect(), "scheduler"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_connection_inside_a_transaction_is_refused(connect: Connect, fence: Fence) -> None:
    connection = connect()
    connection.execute("select 1")
    with pytest.raises(InvalidInput, match="is inside a transaction already"):
        Fence(connection, "scheduler").prime(5)


def test_a_swallowed_error_does_not_pass_for_a_commit(server: Postgres, fence: Fence) -> None:
    """The server answers that commit with a rollback, and the driver is content."""
    with pytest.raises(InvalidInput, match="and nothing was written"), fence.write(5) as cursor:
        cursor.execute("insert into runs (note) values ('lost')")
        with pytest.raises(psycopg.errors.UndefinedTable):
            cursor.execute("select * from nonesuch")
    assert (notes(server), fence.highest()) == ([], 0)


def test_a_block_that_commits_by_itself_is_told_that_the_rest_was_not_fenced(fence: Fence) -> None:
    with pytest.raises(OutcomeUnknown, match="what it did then was not fenced"), fence.write(5) as cursor:
        cursor.execute("commit")


def test_a_lost_connection_is_certainly_not_done_before_the_commit(server: Postgres, fence: Fence) -> None:
    with pytest.raises(EngineUnavailable, match="lost before the commit"), fence.write(5) as cursor:
        cursor.execute("insert into runs (note) values ('lost')")
        server.ask(
            "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'"
        )
    assert notes(server) == []
    with pytest.raises(EngineUnavailable, match="cannot be had"):
        fence.prime(5)


def test_a_lost_answer_to_the_commit_has_an_unknown_outcome(
    fence: Fence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(fence._connection, "commit", lost)
    with pytest.raises(OutcomeUnknown, match="the commit was sent, and not answered"):
        fence.prime(5)


def end_all_connections(server: Postgres) -> None:
    server.ask(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where pid <> pg_backend_pid() and backend_type = 'client backend'"
    )


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_fence_that_opens_its_connection_opens_another_when_it_is_lost(
    server: Postgres,
    connect: Connect,
    autocommit: bool,  # noqa: FBT001
) -> None:
    opened: list[psycopg.Connection[Any]] = []

    def open_one() -> psycopg.Connection[Any]:
        opened.append(connect(autocommit=autocommit))
        return opened[-1]

    fence = Fence(open_one, "scheduler")
    assert opened == []
    fence.create_table()
    fence.prime(5)
    assert len(opened) == 1
    end_all_connections(server)  # while it was idle, so nothing was asked of it
    fence.prime(6)
    assert (fence.highest(), len(opened)) == (6, 2)
    with pytest.raises(EngineUnavailable, match="lost before the commit"), fence.write(7) as cursor:
        cursor.execute("insert into runs (note) values ('lost')")
        end_all_connections(server)
    with pytest.raises(StaleToken), fence.write(4):
        pytest.fail("entered")
    assert (fence.highest(), notes(server), len(opened)) == (6, [], 3)
    fence.close()
    assert all(connection.closed for connection in opened)
    assert fence.highest() == 6
    fence.close()


def test_a_lost_answer_stays_unknown_and_is_not_asked_again(
    server: Postgres, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit came through, and its answer did not: only the next call is another one's."""
    fence = Fence(connect, "scheduler")
    fence.create_table()
    lossy = fence._connection

    def lost() -> None:
        lossy.execute("commit")
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(lossy, "commit", lost)
    with pytest.raises(OutcomeUnknown, match="not answered"), fence.write(5) as cursor:
        cursor.execute("insert into runs (note) values ('once')")
    assert lossy.closed
    assert (fence.highest(), notes(server)) == (5, ["once"])
    fence.close()


def test_a_connection_that_was_given_stays_its_owners(server: Postgres, connect: Connect) -> None:
    mine = connect()
    fence = Fence(mine, "scheduler")
    fence.create_table()
    fence.close()
    assert not mine.closed
    end_all_connections(server)
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="cannot be had"):
            fence.prime(5)


def test_a_database_that_is_away_is_said_and_asked_again_by_the_next_call(connect: Connect) -> None:
    away = True

    def open_one() -> psycopg.Connection[Any]:
        if away:
            raise psycopg.OperationalError("connection refused")
        return connect()

    fence = Fence(open_one, "scheduler")
    with pytest.raises(EngineUnavailable, match="connection refused"):
        fence.create_table()
    away = False
    fence.create_table()
    fence.close()
    with pytest.raises(InvalidInput, match="^connection: "):
        Fence("postgresql://", "scheduler")


def test_a_commit_that_is_refused_wrote_nothing(server: Postgres, connect: Connect, fence: Fence) -> None:
    """A deferred constraint of the caller's, and a transaction that could not be serialized."""
    server.ask("alter table runs add constraint once unique (note) deferrable initially deferred")
    with pytest.raises(psycopg.errors.UniqueViolation), fence.write(5) as cursor:
        cursor.execute("insert into runs (note) values ('twice'), ('twice')")
    assert (notes(server), fence.highest()) == ([], 0)
    other = Fence(connect("serializable"), "another election")
    with connect("serializable") as connection:
        connection.execute("select count(*) from runs")
        with pytest.raises(EngineUnavailable, match="could not serialize"), other.write(5) as cursor:
            cursor.execute("select count(*) from runs")
            cursor.execute("insert into runs (note) values ('skew')")
            connection.execute("insert into runs (note) values ('first')")
            connection.commit()
    assert notes(server) == ["first"]


def test_a_forked_child_is_refused(fence: Fence) -> None:
    """P75."""
    assert in_a_child(lambda: fence.prime(5)) is InvalidInput
    fence.prime(5)
