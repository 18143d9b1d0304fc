"""The one statement, as SQLAlchemy executes it, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from incumbent.errors import StaleToken
from incumbent.fencing.sql import Check
from tests.servers.postgres import postgres

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'orders.db'}")
        yield made
        made.dispose()
    else:
        with postgres(fsync="off") as server:
            made = create_engine(server.url().replace("postgresql://", "postgresql+psycopg://"))
            yield made
            made.dispose()


@pytest.fixture
def check(engine: Engine) -> Check:
    made = Check("scheduler")
    with engine.begin() as connection:
        connection.execute(text(made.schema))
        connection.execute(text("create table runs (note text)"))
    return made


def write(connection: Connection, check: Check, token: int, note: str, holder: str = "") -> None:
    row = connection.execute(text(check.text), check.parameters(token, holder)).one()
    check.read(row, token, holder)
    connection.execute(text("insert into runs values (:note)"), {"note": note})


def test_the_check_stands_or_falls_with_the_transaction(engine: Engine, check: Check) -> None:
    """P33: in the caller's own transaction, with whatever it writes."""
    with engine.begin() as connection:
        write(connection, check, 8, "one", "a")
    for token, holder in ((7, "a"), (8, "b")):
        with pytest.raises(StaleToken), engine.begin() as connection:
            write(connection, check, token, "late", holder)
    with engine.connect() as connection:
        write(connection, check, 9, "taken back", "b")
        connection.rollback()
        assert connection.execute(text("select note from runs")).scalars().all() == ["one"]
        kept = connection.execute(text(check.state_text), check.state_parameters).one()
    assert tuple(kept) == (8, "a", 0)
    assert check.refusals.count == 2
