"""The tables, and how they and the functions come to be: all in one transaction, by whoever is first.

Locks are taken in this order, so that there are no deadlocks: sessions by id, groups by name, then what is in them.

    session   a row per live session. `beats` counts its renewals: who sees it stand still for a TTL ends the session
    team      a row per group, for ever. `joins` numbers the members, `changes` everything that a watch wakes for. Both are
              raised under the row's lock, so that they are committed in their order; a SEQUENCE's numbers are not
    member    the first by revision leads
    cell      a deleted one keeps its row, and its version
"""

from __future__ import annotations

from typing import Final

import psycopg

from incumbent.engines.postgres import functions
from incumbent.engines.postgres.link import Link
from incumbent.errors import EngineUnavailable, NotAllowed, Unsupported

FORMAT: Final = 1
ATTEMPTS_MAX: Final = 10
"""How often the schema is looked for again when others make it at the same moment."""
_RACED: Final = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)

_TABLES: Final = """
CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    incarnation smallint NOT NULL DEFAULT 0 CHECK (incarnation BETWEEN 0 AND 127)
);
INSERT INTO meta (format) VALUES ({format});
CREATE TABLE session (
    id bytea PRIMARY KEY,
    ttl_ns bigint NOT NULL,
    delay_ns bigint NOT NULL,
    beats bigint NOT NULL,
    incarnation smallint NOT NULL
);
CREATE TABLE team (
    name text PRIMARY KEY,
    -- Hundredths of a second, so that a schema that is dropped and made anew does not begin with numbers that were given out.
    joins bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp()) * 100 CHECK (joins < 1::bigint << 40),
    changes bigint NOT NULL DEFAULT 0
);
CREATE TABLE member (
    team text NOT NULL,
    revision bigint NOT NULL,
    session bytea NOT NULL REFERENCES session ON DELETE CASCADE,
    value bytea NOT NULL,
    PRIMARY KEY (team, revision),
    UNIQUE (session, team)
);
CREATE TABLE cell (
    team text NOT NULL,
    name text NOT NULL,
    value bytea,
    version bigint NOT NULL,
    PRIMARY KEY (team, name)
);
"""


async def settle(link: Link, schema: str) -> None:
    """Make the schema unless it is there. Raises Unsupported for one of another version, psycopg.Error."""
    for _ in range(ATTEMPTS_MAX):
        try:
            if await _make(link, schema):
                return
        except _RACED:
            await link.run("ROLLBACK")
    raise EngineUnavailable(f"the schema {schema} is made and dropped again and again")


async def _make(link: Link, schema: str) -> bool:
    ((encoding,), (there,), (tables,)) = await link.run(
        "SELECT current_setting('server_encoding'); SELECT count(*) FROM pg_namespace WHERE nspname = %s;"
        "SELECT to_regclass(%s)::text, to_regproc(%s)::text",
        schema,
        f"{schema}.meta",
        f"{schema}.{functions.ANY}",
    )
    if encoding[0] != "UTF8":
        raise Unsupported(f"url: the database is in {encoding[0]}; names of groups need one in UTF8")
    if tables[0] is not None:
        ((found,),) = await link.run(f"SELECT format FROM {schema}.meta")  # noqa: S608  - see Settings
        if found[0] != FORMAT:
            raise Unsupported(
                f"url: the schema {schema} has format {found[0]}, this version reads {FORMAT}; use one version everywhere"
            )
        if tables[1] is not None:
            return True
        try:
            await _create(link, schema, functions.create())  # those that are there are another release's
        except psycopg.errors.InsufficientPrivilege as error:
            raise NotAllowed(
                f"the schema {schema} lacks this version's functions; connect once as its owner to make them"
            ) from error
        return False
    create = "" if there[0] else f"CREATE SCHEMA {schema};"
    await _create(link, schema, _TABLES.format(format=FORMAT) + functions.create(), create)
    return False


async def _create(link: Link, schema: str, statements: str, before: str = "") -> None:
    """Raises psycopg.Error, also when somebody else was faster."""
    await link.run(
        f"BEGIN READ WRITE; {before} SET LOCAL search_path = {schema}, pg_temp; {statements} COMMIT"
    )
