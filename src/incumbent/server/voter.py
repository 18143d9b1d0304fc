"""What a voter shows over HTTP: whether it is ready, whether it leads, and its metrics.

GET /livez     200 while the process runs and its loop answers
GET /readyz    200 when this voter knows a leader and has applied what it knows to be committed, else 503
GET /leader    200 when this voter leads the cluster, else 503
GET /metrics   Prometheus text format 0.0.4
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as Late
from http import HTTPStatus
from typing import Any, Final

from incumbent.consensus.raft.notes import Code
from incumbent.runtime.admin import described
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.voter import Voter
from incumbent.server.http import JSON, TEXT, Answer, Page, Pages

LOOP_ANSWERS_S: Final = 1.0
"""A voter whose loop does not answer for so long is not alive."""

CAMPAIGNS: Final = (Code.CAMPAIGN_TIMEOUT.value, Code.CAMPAIGN_HINT.value)

METRICS: Final = {
    "incumbent_voter_leads": ("gauge", "1 while this voter leads the cluster and serves"),
    "incumbent_voter_has_leader": ("gauge", "1 while this voter knows a leader"),
    "incumbent_voter_term": ("gauge", "the consensus term"),
    "incumbent_voter_commit_index": ("gauge", "the highest index known to be committed"),
    "incumbent_voter_applied_index": ("gauge", "the highest index applied"),
    "incumbent_voter_log_entries": ("gauge", "entries kept in the log"),
    "incumbent_voter_commit_lag": ("gauge", "entries in the log that are not known to be committed"),
    "incumbent_voter_revision": ("gauge", "the machine's revision"),
    "incumbent_voter_leases": ("gauge", "live leases"),
    "incumbent_voter_requests": ("gauge", "requests in flight"),
    "incumbent_voter_watches": ("gauge", "open watches"),
    "incumbent_voter_elections_total": ("counter", "campaigns that this voter began"),
    "incumbent_voter_terms_led_total": ("counter", "terms that this voter led and served"),
    "incumbent_voter_leaderless_seconds_total": ("counter", "time without a leader that this voter knew"),
    "incumbent_voter_leader_silence_seconds_max": (
        "gauge",
        "the longest time in which this follower heard nothing of its leader, since the last scrape",
    ),
    "incumbent_voter_fsync_seconds_max": ("gauge", "the longest write since the last scrape"),
    "incumbent_voter_fsync_seconds_total": ("counter", "time spent in writes"),
    "incumbent_voter_fsyncs_total": ("counter", "writes"),
    "incumbent_voter_commands_total": ("counter", "commands asked of this voter"),
    "incumbent_voter_reads_total": ("counter", "reads asked of this voter"),
    "incumbent_voter_renewals_total": ("counter", "renewals asked of this voter"),
    "incumbent_voter_requests_refused_total": ("counter", "requests refused, by reason"),
    "incumbent_voter_events_total": ("counter", "what happened in consensus, by the note's code"),
    "incumbent_voter_connected": ("gauge", "peers that can be sent to"),
    "incumbent_voter_dropped_total": ("counter", "messages and requests dropped, by reason"),
    "incumbent_voter_connections_refused_total": ("counter", "connections refused, by reason"),
}


def pages(voter: Voter, loop: asyncio.AbstractEventLoop) -> Pages:
    """For `StatusServer`, whose threads call them."""

    def on_loop(answer: Callable[[], Answer]) -> Page:
        def ask(_: str) -> Answer:
            async def look() -> Answer:
                return answer()

            try:
                return asyncio.run_coroutine_threadsafe(look(), loop).result(LOOP_ANSWERS_S)
            except Late:
                return (
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    TEXT,
                    f"the loop did not answer for {LOOP_ANSWERS_S} s\n",
                )

        return ask

    return {
        "/livez": on_loop(lambda: (HTTPStatus.OK, TEXT, "ok\n")),
        "/readyz": on_loop(lambda: _ready(voter)),
        "/leader": on_loop(lambda: _leader(voter)),
        "/metrics": on_loop(
            lambda: (HTTPStatus.OK, TEXT, "".join(f"{line}\n" for line in exposition(voter)))
        ),
    }


def _ready(voter: Voter) -> Answer:
    standing = voter.driver.standing()
    known = standing.leader is not None and not voter.driver.ended
    status = (
        HTTPStatus.OK if known and standing.applied >= standing.commit else HTTPStatus.SERVICE_UNAVAILABLE
    )
    return status, JSON, json.dumps(described(voter.driver)) + "\n"


def _leader(voter: Voter) -> Answer:
    leadership = voter.driver.leadership
    leads = leadership.serving and not voter.driver.ended
    body = {"leads": leads, "leader": leadership.leader, "term": leadership.term}
    return (HTTPStatus.OK if leads else HTTPStatus.SERVICE_UNAVAILABLE), JSON, json.dumps(body) + "\n"


def exposition(voter: Voter) -> Iterator[str]:
    """The metrics' lines."""
    status = voter.status()
    replica, figures, counts = status.driver.node.replica, status.driver.figures, status.driver.counts
    now_ns = BoottimeClock().now_ns()
    values: dict[str, Any] = {
        "incumbent_voter_leads": float(replica.serving),
        "incumbent_voter_has_leader": float(replica.leader is not None),
        "incumbent_voter_term": replica.term,
        "incumbent_voter_commit_index": replica.commit,
        "incumbent_voter_applied_index": replica.applied,
        "incumbent_voter_log_entries": replica.last_index - replica.first_index + 1,
        "incumbent_voter_commit_lag": replica.last_index - replica.commit,
        "incumbent_voter_revision": status.driver.node.revision,
        "incumbent_voter_leases": status.driver.node.leases,
        "incumbent_voter_requests": status.driver.node.requests,
        "incumbent_voter_watches": status.driver.watches,
        "incumbent_voter_elections_total": sum(counts.get(code, 0) for code in CAMPAIGNS),
        "incumbent_voter_terms_led_total": counts.get(Code.SERVING.value, 0),
        "incumbent_voter_leaderless_seconds_total": figures.leaderless_ns_at(now_ns) / 1e9,
        "incumbent_voter_leader_silence_seconds_max": figures.take_longest_silence_ns() / 1e9,
        "incumbent_voter_fsync_seconds_max": figures.take_longest_write_ns() / 1e9,
        "incumbent_voter_fsync_seconds_total": figures.writes_ns / 1e9,
        "incumbent_voter_fsyncs_total": figures.writes,
        "incumbent_voter_commands_total": figures.commands,
        "incumbent_voter_reads_total": figures.reads,
        "incumbent_voter_renewals_total": figures.renewals,
        "incumbent_voter_requests_refused_total": dict(figures.refused),
        "incumbent_voter_events_total": dict(counts),
        "incumbent_voter_connected": sum(status.connected.values()),
        "incumbent_voter_dropped_total": {**figures.dropped, **_those(status.network, "dropped")},
        "incumbent_voter_connections_refused_total": _those(status.network, "refused"),
    }
    for name, (kind, text) in METRICS.items():
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        value = values[name]
        if isinstance(value, dict):
            label = "event" if name.endswith("events_total") else "reason"
            yield from (f'{name}{{{label}="{which}"}} {count}' for which, count in sorted(value.items()))
        else:
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _those(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if reason.startswith(kind)}
