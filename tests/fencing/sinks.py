"""Every kind of sink at once, for clients that write to all of them: each note becomes a line ``token text``."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis as redis_client
from redis.backoff import NoBackoff
from redis.retry import Retry

from incumbent.errors import EngineUnavailable, StaleToken
from incumbent.fencing import files, postgres, redis, sqlite

ELECTION = "scheduler"
NOTES = "{app}:notes"
WAIT_S = 20.0
Meanwhile = Callable[[], None]
Write = Callable[[int, str, Meanwhile], None]


@dataclass(frozen=True)
class Places:
    """Where they are."""

    directory: str
    postgres: str
    redis: str
    http_port: int

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def database(self) -> Path:
        return Path(self.directory) / "notes.db"

    @property
    def file(self) -> Path:
        return Path(self.directory) / "notes"

    @property
    def behind_http(self) -> Path:
        return Path(self.directory) / "http" / "notes"


def prepare(places: Places) -> None:
    """Empty."""
    places.behind_http.parent.mkdir()
    with sqlite3.connect(places.database) as database:
        database.execute("create table notes (line text)")
    database.close()
    with psycopg.connect(places.postgres) as connection:
        connection.execute("drop table if exists notes, incumbent_fence")
        connection.execute("create table notes (id bigserial primary key, line text)")
    with psycopg.connect(places.postgres) as connection:
        postgres.Fence(connection, ELECTION).create_table()
    with redis_client.Redis.from_url(places.redis) as client:
        client.flushall()


def lines(places: Places) -> dict[str, list[str]]:
    """What each sink holds, in its own order."""
    database = sqlite3.connect(places.database)
    of_sqlite = [line for (line,) in database.execute("select line from notes order by rowid")]
    database.close()
    with psycopg.connect(places.postgres) as connection:
        of_postgres = [line for (line,) in connection.execute("select line from notes order by id")]
    with redis_client.Redis.from_url(places.redis, decode_responses=True) as client:
        of_redis = [str(line) for line in client.lrange(NOTES, 0, -1)]
    return {
        "sqlite": of_sqlite,
        "files": places.file.read_text().splitlines(),
        "postgres": of_postgres,
        "redis": of_redis,
        "http": places.behind_http.read_text().splitlines(),
    }


@contextmanager
def opened(places: Places) -> Iterator[dict[str, Write]]:
    """By kind, how to write; `meanwhile` is called in the middle of each write."""
    database = sqlite3.connect(places.database, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
    connection = psycopg.connect(places.postgres)
    client = redis_client.Redis.from_url(places.redis, socket_timeout=WAIT_S, retry=Retry(NoBackoff(), 0))
    of_sqlite = sqlite.Fence(database, ELECTION)
    of_files = files.Fence(places.file, ELECTION, wait_s=WAIT_S)
    of_postgres = postgres.Fence(connection, ELECTION, wait_s=WAIT_S)
    of_redis = redis.Fence(client, ELECTION, tag="app")

    def to_sqlite(token: int, text: str, meanwhile: Meanwhile) -> None:
        with of_sqlite.write(token) as cursor:
            meanwhile()
            cursor.execute("insert into notes values (?)", (f"{token} {text}",))

    def to_files(token: int, text: str, meanwhile: Meanwhile) -> None:
        with of_files.write(token) as draft:
            before = places.file.read_bytes() if places.file.exists() else b""
            meanwhile()
            draft.write(before + f"{token} {text}\n".encode())

    def to_postgres(token: int, text: str, meanwhile: Meanwhile) -> None:
        with of_postgres.write(token) as cursor:
            meanwhile()
            cursor.execute("insert into notes (line) values (%s)", (f"{token} {text}",))

    def to_redis(token: int, text: str, meanwhile: Meanwhile) -> None:
        with of_redis.write(token) as batch:
            meanwhile()
            batch.call("RPUSH", NOTES, f"{token} {text}")

    def to_http(token: int, text: str, meanwhile: Meanwhile) -> None:
        meanwhile()
        _post(places.http_port, token, text)

    try:
        yield {
            "sqlite": to_sqlite,
            "files": to_files,
            "postgres": to_postgres,
            "redis": to_redis,
            "http": to_http,
        }
    finally:
        client.close()
        connection.close()
        database.close()


def _post(port: int, token: int, text: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("POST", "/", text.encode(), {"Fencing-Token": str(token)})
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.PRECONDITION_FAILED:
        raise StaleToken(ELECTION, token, int(body["highest"]))
    if answer.status != http.HTTPStatus.OK:
        raise EngineUnavailable(str(body))
