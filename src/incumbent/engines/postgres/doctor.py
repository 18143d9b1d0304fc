"""What `incumbent doctor` learns of a PostgreSQL server that only the server can tell."""

from __future__ import annotations

from typing import Any, Final

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.postgres.link import briefly
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.postgres.store import TIMELINE_MAX

VERSION_MIN: Final = 130000
TIMELINE_HIGH: Final = TIMELINE_MAX // 2
_CLOCK: Final = (
    "the server's clock decides nothing: a session ends when a client has seen its counter of renewals stand still for a "
    "whole TTL on its own suspend-aware clock, so a step of the server's wall clock changes nothing"
)
_QUESTIONS: Final = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
       current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_standby_names'),
       current_setting('server_encoding'),
       (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'),
       (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
       CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint END
"""


async def examine(url: str) -> Examination:
    """Asks once, changes nothing. Raises InvalidInput, EngineUnavailable."""
    settings = Settings.parse(url)
    async with briefly(settings) as link:
        ((answer,),) = await link.run(_QUESTIONS)
    findings = _judge(settings, answer, pooled=link.pooled)
    members = 1 + answer[7]
    server = f"PostgreSQL {answer[0]}, {members} server{'s' if members > 1 else ''}"
    return Examination(
        server=server, ttl_min_s=TTL_MIN_S, ttl_max_s=TTL_MAX_S, clock=_CLOCK, findings=tuple(findings)
    )


def _judge(settings: Settings, answer: tuple[Any, ...], *, pooled: bool) -> list[Finding]:
    _, version, standby, fsync, full_pages, names, encoding, streaming, synchronous, timeline = answer
    found: list[Finding] = []

    def say(severity: Severity, code: str, words: str, *, unless: bool) -> None:
        if not unless:
            found.append(Finding(severity, code, words))

    say(
        Severity.FAULT, "postgresql-old", f"PostgreSQL {answer[0]} is not tried; use 13 or newer",
        unless=version >= VERSION_MIN,
    )  # fmt: skip
    say(
        Severity.FAULT, "postgresql-standby", "this server only follows another; name the primary, or all hosts",
        unless=not standby,
    )  # fmt: skip
    say(
        Severity.FAULT, "postgresql-fsync-off",
        "fsync or full_page_writes is off: a power cut loses or damages what was acknowledged; turn both on",
        unless=fsync == "on" and full_pages == "on",
    )  # fmt: skip
    say(
        Severity.FAULT, "postgresql-encoding", f"the database is in {encoding}; use one in UTF8",
        unless=encoding == "UTF8",
    )  # fmt: skip
    say(
        Severity.FAULT, "postgresql-no-synchronous-standby",
        "the URL says standby=synchronous, and no standby is: what is acknowledged is on one disk only",
        unless=settings.standby != "synchronous" or (bool(names) and synchronous > 0),
    )  # fmt: skip
    say(
        Severity.WARNING, "postgresql-asynchronous-standby",
        "a standby follows asynchronously and the URL does not say so: promoted, it lacks what was acknowledged; "
        "name it in synchronous_standby_names, or say standby=asynchronous",
        unless=settings.standby != "none" or streaming <= synchronous,
    )  # fmt: skip
    say(
        Severity.WARNING, "postgresql-timeline-high", f"timeline {timeline} of at most {TIMELINE_MAX}",
        unless=timeline < TIMELINE_HIGH,
    )  # fmt: skip
    say(
        Severity.INFO, "postgresql-pooled",
        f"behind a pool: a change is noticed within poll={settings.poll_s} s instead of at once",
        unless=not pooled,
    )  # fmt: skip
    return found
