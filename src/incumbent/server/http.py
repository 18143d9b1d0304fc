"""Liveness, "am I the leader", and metrics over HTTP.

    GET /livez              200 while the process runs
    GET /leader             200 when this process leads at least one election, else 503
    GET /leader/ELECTION    200 when it leads that one, else 503
    GET /metrics            Prometheus text format 0.0.4

It is the standard library's server on threads of its own, so it answers also while the event loop is busy, and never from a
stale belief: what it says is computed from the deadlines at the moment of the request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import unquote

from incumbent.errors import InvalidInput
from incumbent.server.board import Board, Standing

CONNECTIONS_MAX: Final = 64
"""More at one time are closed unanswered."""
REQUEST_TIMEOUT_S: Final = 5.0
JSON: Final = "application/json"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

METRICS: Final = {
    "incumbent_leads": ("gauge", "1 while this candidate leads, by the clock"),
    "incumbent_jeopardy": ("gauge", "1 while this candidate leads and a renewal is overdue"),
    "incumbent_lease_remaining_seconds": ("gauge", "until the term ends without another renewal"),
    "incumbent_terms_total": ("counter", "terms begun"),
    "incumbent_renewals_total": ("counter", "renewals confirmed during terms"),
    "incumbent_terms_ended_total": ("counter", "terms ended, by reason"),
}


class StatusServer:
    """``with StatusServer(board, ("127.0.0.1", 8080)):`` serves until the block is left. `address` has the real port.

    Raises InvalidInput when the address cannot be bound.
    """

    def __init__(self, board: Board, listen: tuple[str, int]) -> None:
        handler = type("Handler", (_Handler,), {"board": board})
        try:
            self._server = _Server(listen, handler)
        except OSError as error:
            raise InvalidInput(
                "listen", f"{listen[0]}:{listen[1]} cannot be bound: {error}", "use a free address"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="incumbent-http", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._server.server_address[:2]
        return str(host), port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 2 * CONNECTIONS_MAX

    def __init__(self, listen: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(listen, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    board: Board
    timeout = REQUEST_TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "incumbent"

    def do_GET(self) -> None:
        answer = ROUTES.get(self.path)
        if answer is not None:
            self._answer(*answer(self.board.standings()))
        elif self.path.startswith("/leader/"):
            election = unquote(self.path.removeprefix("/leader/"))
            self._answer(*_leader([s for s in self.board.standings() if s.election == election]))
        else:
            self._answer(HTTPStatus.NOT_FOUND, TEXT, f"no such page; there are {', '.join(ROUTES)}\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A scraper's visits are no news."""


Answer = tuple[HTTPStatus, str, str]


def _livez(_: Sequence[Standing]) -> Answer:
    return HTTPStatus.OK, TEXT, "ok\n"


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


ROUTES: Final[dict[str, Callable[[Sequence[Standing]], Answer]]] = {
    "/livez": _livez,
    "/leader": _leader,
    "/metrics": _metrics,
}


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
