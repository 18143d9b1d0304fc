"""The check as one SQL statement, for any driver, in a transaction that is yours.

The statement takes the lock of the fence's row, raises the fence when the token is higher, and gives back what the fence holds
then; that row says whether the token was taken. From there on until the end of the transaction nobody else gets past it, so what
the transaction writes stands or falls with the check. It is the same text for SQLite (3.35 and newer) and PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from incumbent.errors import InvalidInput, invariant
from incumbent.fencing.refusals import OnRefused, Refusals
from incumbent.fencing.rule import Seen, check_holder, check_token, key_of

TABLE: Final = "incumbent_fence"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?", re.ASCII)

ParamStyle = Literal["named", "pyformat", "format", "qmark", "dollar"]
"""As PEP 249 names them; `named` is SQLAlchemy's ``text()`` too, and `dollar` is what asyncpg takes (``$1``)."""

_PLACES: Final[Mapping[ParamStyle, tuple[str, str, str]]] = {
    "named": (":name", ":token", ":holder"),
    "pyformat": ("%(name)s", "%(token)s", "%(holder)s"),
    "format": ("%s", "%s", "%s"),
    "qmark": ("?", "?", "?"),
    "dollar": ("$1", "$2", "$3"),
}
_BY_NAME: Final = frozenset({"named", "pyformat"})


class Cursor(Protocol):
    """What the check needs of a PEP 249 cursor."""

    def execute(self, statement: Any, parameters: Any = ..., /) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Check:
    """The check of one election's fence, without a connection.

    `text` and `parameters(token)` are for whoever executes them (SQLAlchemy, asyncpg), `read` takes the one row that comes back;
    `run` does all three with a PEP 249 cursor. `schema` makes the table. `table` may name a schema: ``app.incumbent_fence``.

    Raises InvalidInput.
    """

    def __init__(
        self,
        name: str,
        *,
        paramstyle: ParamStyle = "named",
        table: str = TABLE,
        on_refused: OnRefused | None = None,
    ) -> None:
        if paramstyle not in _PLACES:
            raise InvalidInput("paramstyle", f"{paramstyle!r} is unknown", f"use one of {', '.join(_PLACES)}")
        if not _IDENTIFIER.fullmatch(table):
            raise InvalidInput(
                "table", f"{table[:40]!r} is no plain name", "use ASCII letters, digits and '_', with a schema if need be"
            )  # fmt: skip
        self.name = name
        self.refusals = Refusals(name, on_refused)
        self._key = key_of(name)
        self._by_name = paramstyle in _BY_NAME
        self.schema: Final = (
            f"create table if not exists {table} (name text primary key, token bigint not null, "
            "holder text not null, refused bigint not null)"
        )
        self.text: Final = _statement(table, *_PLACES[paramstyle])
        self.state_text: Final = (
            f"select token, holder, refused from {table} where name = {_PLACES[paramstyle][0]}"  # noqa: S608 - an identifier, checked above
        )

    def parameters(self, token: int, holder: str = "") -> Mapping[str, Any] | Sequence[Any]:
        """What `text` is executed with: a mapping where the style has names, else a sequence. Raises InvalidInput."""
        values = (self._key, check_token(token), check_holder(holder))
        return dict(zip(("name", "token", "holder"), values, strict=True)) if self._by_name else values

    @property
    def state_parameters(self) -> Mapping[str, Any] | Sequence[Any]:
        """What `state_text` is executed with: it reads what the fence holds."""
        return {"name": self._key} if self._by_name else (self._key,)

    def read(self, row: Any, token: int, holder: str = "") -> None:
        """Take the row that `text` gave back. Raises StaleToken: roll back, and nothing was written."""
        seen = seen_in(row)
        if seen.refuses(token, holder):
            raise self.refusals.refuse(token, holder, seen)

    def run(self, cursor: Cursor, token: int, holder: str = "") -> None:
        """Check inside the transaction that `cursor` is in; do this before what you write, and roll back if it raises.

        Raises StaleToken, InvalidInput, and what the driver raises.
        """
        self.read(self.ask(cursor, token, holder), token, holder)

    def ask(self, cursor: Cursor, token: int, holder: str = "") -> Any:
        """The row, unread: for who commits the count of a refusal."""
        cursor.execute(self.text, self.parameters(token, holder))
        rows = cursor.fetchall()  # all: a statement that is not read to its end keeps SQLite from committing
        invariant(len(rows) == 1, "the check gives back one row", rows=len(rows))
        return rows[0]


def seen_in(row: Any) -> Seen:
    """What a row of the fence's table says; rows are sequences, or mappings where the driver is told so."""
    if isinstance(row, Mapping):
        return Seen(int(row["token"]), str(row["holder"]))
    return Seen(int(row[0]), str(row[1]))


def refused_in(row: Any) -> int:
    return int(row["refused"] if isinstance(row, Mapping) else row[2])


def _statement(table: str, name: str, token: str, holder: str) -> str:
    """The rule of `incumbent.fencing.rule` in SQL. `f` is what the fence holds, `excluded` what is asked for."""
    higher = "excluded.token > f.token"
    same = "excluded.token = f.token"
    compatible = "(f.holder = '' or excluded.holder = '' or f.holder = excluded.holder)"
    return (
        f"insert into {table} as f (name, token, holder, refused) values ({name}, {token}, {holder}, 0) "  # noqa: S608 - an identifier, checked above
        "on conflict (name) do update set "
        f"token = case when {higher} then excluded.token else f.token end, "
        f"holder = case when {higher} or ({same} and f.holder = '') then excluded.holder else f.holder end, "
        f"refused = f.refused + case when {higher} or ({same} and {compatible}) then 0 else 1 end "
        "returning token, holder, refused"
    )
