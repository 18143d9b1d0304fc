"""What a process's terms show over HTTP.

    GET /livez              200 while the process runs
    GET /leader             200 when this process leads at least one election, else 503
    GET /leader/ELECTION    200 when it leads that one, else 503
    GET /metrics            Prometheus text format 0.0.4

Never from a stale belief: what it says is computed from the deadlines at the moment of the request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from incumbent.server.board import Board, Standing
from incumbent.server.http import JSON, TEXT, Answer, Pages

METRICS: Final = {
    "incumbent_leads": ("gauge", "1 while this candidate leads, by the clock"),
    "incumbent_jeopardy": ("gauge", "1 while this candidate leads and a renewal is overdue"),
    "incumbent_lease_remaining_seconds": ("gauge", "until the term ends without another renewal"),
    "incumbent_terms_total": ("counter", "terms begun"),
    "incumbent_renewals_total": ("counter", "renewals confirmed during terms"),
    "incumbent_terms_ended_total": ("counter", "terms ended, by reason"),
}


def pages(board: Board) -> Pages:
    """For `StatusServer`."""
    return {
        "/livez": lambda _: (HTTPStatus.OK, TEXT, "ok\n"),
        "/leader": lambda _: _leader(board.standings()),
        "/leader/": lambda election: _leader([s for s in board.standings() if s.election == election]),
        "/metrics": lambda _: _metrics(board.standings()),
    }


def _leader(standings: Sequence[Standing]) -> Answer:
    leads = [standing for standing in standings if standing.leads]
    body = {
        # Tokens are text too: JSON readers that use doubles lose bits above 2**53.
        "leads": [
            {
                "election": s.election,
                "candidate": s.candidate,
                "token": str(s.token),
                "remaining_s": round(s.remaining_s, 3),
            }
            for s in leads
        ]
    }
    return HTTPStatus.OK if leads else HTTPStatus.SERVICE_UNAVAILABLE, JSON, json.dumps(body) + "\n"


def _metrics(standings: Sequence[Standing]) -> Answer:
    return HTTPStatus.OK, TEXT, "".join(f"{line}\n" for line in _exposition(standings))


def _exposition(standings: Sequence[Standing]) -> Iterator[str]:
    values = {
        "incumbent_leads": [(s, "", float(s.leads)) for s in standings],
        "incumbent_jeopardy": [(s, "", float(s.jeopardy)) for s in standings],
        "incumbent_lease_remaining_seconds": [(s, "", s.remaining_s) for s in standings],
        "incumbent_terms_total": [(s, "", float(s.terms)) for s in standings],
        "incumbent_renewals_total": [(s, "", float(s.renewals)) for s in standings],
        "incumbent_terms_ended_total": [
            (s, f',reason="{_escaped(reason)}"', float(n)) for s in standings for reason, n in s.ended
        ],
    }
    for name, (kind, text) in METRICS.items():
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        for standing, more, value in values[name]:
            labels = (
                f'election="{_escaped(standing.election)}",candidate="{_escaped(standing.candidate)}"{more}'
            )
            yield f"{name}{{{labels}}} {value:g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
