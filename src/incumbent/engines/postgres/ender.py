"""Ends PostgreSQL sessions by reference, for the guardian: a blocking connection, kept warm, on a thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg import ClientCursor, Connection

from incumbent.engines.api import Ref
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.reference import Reference

T = TypeVar("T")
RETRY_EVERY_S: Final = 0.1

# As `store.end_session`, in one go: locks in the same order, watches woken at the commit.
_END: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT set_config('search_path', %(path)s, true), set_config('synchronous_commit', 'on', true),
       set_config('statement_timeout', %(timeout)s, true), set_config('lock_timeout', %(timeout)s, true);
SELECT count(*) AS live FROM (SELECT FROM session WHERE id = %(session)s FOR UPDATE) AS found;
SELECT FROM team WHERE name IN (SELECT team FROM member WHERE session = %(session)s) ORDER BY name FOR UPDATE;
UPDATE team SET changes = changes + 1 WHERE name IN (SELECT team FROM member WHERE session = %(session)s)
       RETURNING pg_notify(current_schema(), name);
DELETE FROM session WHERE id = %(session)s;
COMMIT
"""


def make_ender() -> PostgresEnder:
    return PostgresEnder()


class PostgresEnder:
    """One database at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="incumbent-ender")
        self._connection: Connection[tuple[Any, ...]] | None = None
        self._url = ""

    async def prepare(self, ref: Ref) -> None:
        reference = Reference.from_bytes(ref, "postgresql")
        await self._run(lambda: self._connected(reference).execute("SELECT 1"))

    async def end(self, ref: Ref) -> bool:
        """True = ended now, False = was already over. A commit without an answer is asked for again, and then says False."""
        reference = Reference.from_bytes(ref, "postgresql")
        while True:
            try:
                return await self._run(lambda: self._end(reference))
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return False  # dropped, and its sessions with it
            except psycopg.Error:
                await self._run(self._close)
                await asyncio.sleep(RETRY_EVERY_S)

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _end(self, reference: Reference) -> bool:
        settings = Settings.parse(reference.url)
        cursor = ClientCursor(self._connected(reference))
        values = {
            "path": f"{settings.schema}, pg_temp",
            "timeout": str(max(1, round(settings.timeout_s * 1000))),
            "session": reference.session,
        }
        cursor.execute(_END, values)
        ended = False
        while cursor.nextset():
            if cursor.description and cursor.description[0].name == "live":
                ended = cursor.fetchone() == (1,)
        return ended

    def _connected(self, reference: Reference) -> Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed or self._url != reference.url:
            self._close()
            settings = Settings.parse(reference.url)
            self._connection = psycopg.connect(
                "",
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=math.ceil(settings.timeout_s),
                client_encoding="utf8",
                **cast(dict[str, Any], settings.parameters),
            )
            self._url = reference.url
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
