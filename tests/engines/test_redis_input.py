"""What the Redis engine takes, and what it declares of itself. No server."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest

from incumbent.engines.history import History, Position
from incumbent.engines.redis.guarantees import guarantees
from incumbent.engines.redis.settings import Settings
from incumbent.errors import IncarnationChanged, InvalidInput


def test_nothing_is_promised_that_only_a_sink_can_keep() -> None:
    """P46: tokens are worth what the servers' clocks are worth, so the caller has to say that it is enough."""
    declared = guarantees(advisory=False)
    assert not any(
        (declared.linearizable, declared.fenced, declared.survives_failover, declared.survives_pause)
    )
    accepted = guarantees(advisory=True)
    assert accepted.fenced
    assert not any((accepted.linearizable, accepted.survives_failover, accepted.survives_clock_step))


def test_a_replica_that_lacks_changes_is_refused_until_the_incarnation_is_raised() -> None:
    """P46."""
    history = History()
    history.learn("uuid", Position(0, (7,)))
    floor = history.position
    for revision in (6, 9):  # it soon looks as if it had gone far enough
        with pytest.raises(IncarnationChanged):
            history.check(floor, "uuid", Position(0, (revision,)))
    history.check(floor, "uuid", Position(1, (6,)))
    history.learn("uuid", Position(1, (6,)))
    history.check(history.position, "uuid", Position(1, (6,)))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h?acept=advisory", "acept"),
        ("redis://h?accept=anything", "accept"),
        ("redis://h?namespace={x}", "namespace"),
        ("redis://h/words", "database"),
        ("redis://a,b", "hosts"),
        ("redis://", "hosts"),
        ("redis://h?timeout=0", "timeout"),
        ("redis://h?tls=maybe", "tls"),
        ("redis://h?tls_ca=/nowhere&tls=0", "tls"),
    ],
)
def test_a_bad_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Settings.parse(url)


def test_a_url_says_where_and_its_password_is_not_shown() -> None:
    settings = Settings.parse("redis://app:s3cret@[::1]:7000/3?tls=1")
    assert (settings.host, settings.port, settings.database, settings.user) == ("::1", 7000, 3, "app")
    assert "s3cret" not in settings.shown + repr(settings)
    context = settings.context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert Settings.parse("redis://h").context() is None
    with pytest.raises(InvalidInput, match="TLS file"):
        Settings.parse("redis://h?tls_ca=/nowhere").context()


@pytest.mark.parametrize(
    ("scheme", "library", "package"), [("redis", "redis", "redis"), ("postgresql", "psycopg", "postgres")]
)
def test_a_missing_client_library_is_named(scheme: str, library: str, package: str) -> None:
    """In a process of its own, where nothing was imported before."""
    script = (
        f"import asyncio, sys; sys.modules[{library!r}] = None\n"
        "from incumbent.engines.registry import connect\n"
        "from incumbent.errors import Unsupported\n"
        f"try: asyncio.run(connect('{scheme}://h/0'))\n"
        f"except Unsupported as error: sys.exit('incumbent[{package}]' not in str(error))\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
