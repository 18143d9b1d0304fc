"""The HTTP face says who leads by the clock at the moment of the question."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import incumbent
from incumbent.errors import InvalidInput
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.tenure import Reason
from incumbent.server import voter
from incumbent.server.board import Board
from incumbent.server.http import CONNECTIONS_MAX, StatusServer
from incumbent.server.terms import METRICS, pages

S = 1_000_000_000


@dataclass
class Clock:
    ns: int = 0

    def now_ns(self) -> int:
        return self.ns


def event(kind: EventKind, *, deadline_s: int, token: int = 5, reason: Reason | None = None) -> TermEvent:
    return TermEvent(
        kind=kind, election="e/1", candidate='a"b', token=token, time_ns=0, pid=1, deadline_ns=deadline_s * S, reason=reason
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock)


@pytest.fixture
def server(board: Board) -> Iterator[StatusServer]:
    with StatusServer(pages(board), ("127.0.0.1", 0)) as server:
        yield server


def get(server: StatusServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*server.address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_it_lives_and_leads_nothing_yet(server: StatusServer) -> None:
    assert get(server, "/livez") == (200, "ok\n")
    assert get(server, "/leader") == (503, '{"leads": []}\n')


def test_it_says_that_it_leads_until_the_deadline_and_not_after(
    server: StatusServer, board: Board, clock: Clock
) -> None:
    """P11: nothing was told of the loss, and still the answer is no."""
    board(event(EventKind.ELECTED, deadline_s=5, token=2**60 + 1))
    status, body = get(server, "/leader/e%2F1")
    assert status == 200
    assert json.loads(body)["leads"] == [
        {"election": "e/1", "candidate": 'a"b', "token": str(2**60 + 1), "remaining_s": 5.0}
    ]
    assert get(server, "/leader/other")[0] == 503
    clock.ns = 5 * S
    assert get(server, "/leader/e%2F1")[0] == 503
    board(event(EventKind.EXTENDED, deadline_s=9))
    assert get(server, "/leader")[0] == 200
    board(event(EventKind.LOST, deadline_s=9, reason=Reason.EXPIRED))
    assert get(server, "/leader")[0] == 503


def test_metrics_count_terms_renewals_and_reasons(server: StatusServer, board: Board) -> None:
    board(event(EventKind.ELECTED, deadline_s=5))
    board(event(EventKind.EXTENDED, deadline_s=7))
    board(event(EventKind.JEOPARDY, deadline_s=7))
    lines = get(server, "/metrics")[1].splitlines()
    who = 'election="e/1",candidate="a\\"b"'
    assert f"incumbent_leads{{{who}}} 1" in lines
    assert f"incumbent_jeopardy{{{who}}} 1" in lines
    assert f"incumbent_lease_remaining_seconds{{{who}}} 7" in lines
    board(event(EventKind.LOST, deadline_s=7, reason=Reason.EXPIRED))
    lines = get(server, "/metrics")[1].splitlines()
    assert f"incumbent_leads{{{who}}} 0" in lines
    assert f"incumbent_terms_total{{{who}}} 1" in lines
    assert f"incumbent_renewals_total{{{who}}} 1" in lines
    assert f'incumbent_terms_ended_total{{{who},reason="expired"}} 1' in lines
    assert all(f"# TYPE {name} {kind}" in lines for name, (kind, _) in METRICS.items())


def test_an_unknown_page_names_the_known_ones(server: StatusServer) -> None:
    status, body = get(server, "/")
    assert status == 404
    assert "/metrics" in body


def test_a_port_in_use_is_refused_by_field(server: StatusServer, board: Board) -> None:
    with pytest.raises(InvalidInput, match="^listen: "):
        StatusServer(pages(board), server.address)


def test_silent_connections_are_bounded_and_harm_nobody_for_long(server: StatusServer) -> None:
    """Beyond the bound a connection is closed, and those that end make room again."""
    silent = [socket.create_connection(server.address, timeout=5) for _ in range(CONNECTIONS_MAX)]
    with socket.create_connection(server.address, timeout=5) as one_more:
        assert one_more.recv(1) == b""
    for each in silent:
        each.close()
    for _ in range(100):
        try:
            assert get(server, "/livez")[0] == 200
            break
        except (http.client.RemoteDisconnected, ConnectionError):
            continue
    else:
        pytest.fail("no room was made")


@pytest.mark.slow
async def test_a_real_election_shows(tmp_path: Path) -> None:
    board = Board()
    with StatusServer(pages(board), ("127.0.0.1", 0)) as server:
        async with incumbent.connect(f"local://{tmp_path / 'x'}", ttl=2.0) as cluster:
            async with cluster.election("scheduler", listener=board).campaign() as term:
                status, body = get(server, "/leader/scheduler")
                assert (status, json.loads(body)["leads"][0]["token"]) == (200, str(term.token))
            assert get(server, "/leader/scheduler")[0] == 503


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "reference" / "http.md").read_text()
    assert [name for name in [*METRICS, *voter.METRICS] if f"`{name}`" not in page] == []
