"""By what the PostgreSQL engine measures silence, and by what it knows that a server went back. No server, no time."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from incumbent.engines.postgres.link import translated
from incumbent.engines.postgres.memory import GROUPS_MAX, Memory
from incumbent.engines.postgres.pool import Head
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.postgres.sightings import SIGHTINGS_MAX, Server, Sightings
from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    IncarnationChanged,
    IncumbentError,
    InvalidInput,
    NotAllowed,
)

SERVER = Server("uuid", 1, "monday")
HEAD = Head("uuid", 0, 1, 1000, "monday")


def test_who_sees_a_session_for_the_first_time_waits_for_all_of_it() -> None:
    """P17, P45: however often it was renewed before."""
    seen = Sightings()
    assert seen.see(b"s", 4711, SERVER, lasts_ns=100, now_ns=1000) == 1100
    assert seen.due(1099) == []
    assert [sighting.session for sighting in seen.due(1100)] == [b"s"]


def test_the_holders_duration_counts() -> None:
    """P15: it stands in the session's row; what the observer's own would be is not asked."""
    seen = Sightings()
    seen.see(b"long", 1, SERVER, lasts_ns=900, now_ns=0)
    seen.see(b"short", 1, SERVER, lasts_ns=100, now_ns=0)
    assert [sighting.session for sighting in seen.due(899)] == [b"short"]


def test_a_counter_that_stands_still_keeps_its_time_and_one_that_moves_begins_anew() -> None:
    """P45."""
    seen = Sightings()
    seen.see(b"s", 1, SERVER, lasts_ns=100, now_ns=0)
    assert seen.see(b"s", 1, SERVER, lasts_ns=100, now_ns=60) == 100
    assert seen.see(b"s", 2, SERVER, lasts_ns=100, now_ns=70) == 170
    assert seen.see(b"s", 1, SERVER, lasts_ns=100, now_ns=80) == 170  # an answer that came late
    assert seen.due(169) == []


@pytest.mark.parametrize(
    "other", [replace(SERVER, timeline=2), replace(SERVER, started="tuesday"), replace(SERVER, uuid="other")]
)
def test_what_was_seen_of_another_run_of_the_server_proves_nothing(other: Server) -> None:
    """P45: a promoted standby may lack renewals, and then shows a counter that was seen long ago."""
    seen = Sightings()
    seen.see(b"s", 1, SERVER, lasts_ns=100, now_ns=0)
    assert seen.see(b"s", 1, other, lasts_ns=100, now_ns=90) == 190


def test_what_is_forgotten_is_waited_for_again() -> None:
    seen = Sightings()
    seen.see(b"s", 1, SERVER, lasts_ns=100, now_ns=0)
    assert (seen.beats(b"s"), seen.server(b"s"), seen.next_ns) == (1, SERVER, 100)
    seen.forget(b"s")
    assert (seen.beats(b"s"), seen.server(b"s"), seen.next_ns) == (0, None, None)
    assert seen.due(1000) == []
    for number in range(SIGHTINGS_MAX + 1):
        seen.see(b"%d" % number, 1, SERVER, lasts_ns=100, now_ns=0)
    assert seen.beats(b"0") == 0
    assert len(seen.due(100)) == SIGHTINGS_MAX


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (replace(HEAD, flushed=999), "went back"),
        (replace(HEAD, timeline=0), "went back"),
        (replace(HEAD, uuid="other", flushed=2000), "made anew"),
    ],
)
def test_a_server_that_went_back_is_refused_until_the_incarnation_is_raised(head: Head, says: str) -> None:
    """P31, P45."""
    memory = Memory()
    memory.learn(HEAD)
    floor = memory.position
    memory.look(floor, head)  # in passing is enough
    memory.learn(head)
    ahead = replace(head, timeline=1, flushed=9000)  # it soon looks as if it had gone far enough
    for back in (head, ahead):
        with pytest.raises(IncarnationChanged, match=says):
            memory.check(floor, back)
    memory.learn(ahead)
    bumped = replace(head, incarnation=1)
    memory.check(memory.position, bumped)
    memory.learn(bumped)
    memory.check(memory.position, bumped)
    with pytest.raises(IncarnationChanged):
        memory.check(memory.position, replace(bumped, flushed=500))


def test_a_promotion_alone_is_no_reset() -> None:
    """P45: it may even have a shorter log. What it lacks of a group is noticed there, once."""
    memory = Memory()
    memory.learn(HEAD)
    memory.learn_group("g", 7)
    promoted = replace(HEAD, timeline=2, flushed=500)
    memory.check(memory.position, promoted)
    with pytest.raises(IncarnationChanged):
        memory.check_group("g", memory.changes("g"), 6)
    memory.check_group("g", memory.changes("g"), 6)
    memory.check_group("other", memory.changes("other"), 0)


def test_answers_may_come_in_any_order() -> None:
    memory = Memory()
    memory.learn(HEAD)
    floor = memory.position
    memory.learn(replace(HEAD, flushed=2000))
    memory.check(floor, replace(HEAD, flushed=1500))  # asked before, answered after
    memory.learn(replace(HEAD, flushed=1500))
    assert memory.position.rest == (1, 2000)


def test_only_so_many_groups_are_remembered() -> None:
    memory = Memory()
    for number in range(GROUPS_MAX + 1):
        memory.learn_group(f"g{number}", 1)
    assert (memory.changes("g0"), memory.changes("g1")) == (0, 1)


@pytest.mark.parametrize(
    ("raised", "means"),
    [
        (psycopg.errors.UndefinedTable, IncarnationChanged),
        (psycopg.errors.InvalidCatalogName, InvalidInput),
        (psycopg.errors.InsufficientPrivilege, NotAllowed),
        (psycopg.errors.ReadOnlySqlTransaction, EngineUnavailable),
        (psycopg.errors.DeadlockDetected, EngineUnavailable),
        (psycopg.errors.LockNotAvailable, EngineUnavailable),
        (psycopg.errors.AdminShutdown, EngineUnavailable),
        (psycopg.OperationalError, EngineUnavailable),
        (psycopg.errors.CheckViolation, EngineError),
        (psycopg.errors.SyntaxError, EngineError),
    ],
)
def test_errors_say_what_they_mean(raised: type[psycopg.Error], means: type[IncumbentError]) -> None:
    assert type(translated(raised("words"))) is means


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://h/d?scema=x", "scema"),
        ("postgresql://h/d?schema=Robert'); DROP TABLE", "schema"),
        ("postgresql://h/d?schema=pg_catalog", "schema"),
        ("postgresql://h/d?wakeups=never", "wakeups"),
        ("postgresql://h/d?standby=maybe", "standby"),
        ("postgresql://h/d?timeout=0", "timeout"),
        ("postgresql://h/d?host=/run", "twice"),
    ],
)
def test_a_bad_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Settings.parse(url)


def test_a_url_becomes_libpqs_parameters_and_its_password_is_not_shown() -> None:
    settings = Settings.parse("postgresql://u:s3cret@a,b:5433/d?sslmode=verify-full")
    assert settings.parameters == {
        "sslmode": "verify-full", "host": "a,b", "port": "5432,5433", "target_session_attrs": "read-write",
        "user": "u", "password": "s3cret", "dbname": "d", "application_name": "incumbent",
    }  # fmt: skip
    assert "s3cret" not in settings.shown + repr(settings)
