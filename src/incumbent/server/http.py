"""Pages over HTTP for those who only ask: load balancers and scrapers.

It is the standard library's server on threads of its own, so it answers also while the event loop is busy. What the pages say is
computed at the moment of the request: `terms` has those of a process's elections, `voter` those of a voter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import unquote

from incumbent.errors import InvalidInput

CONNECTIONS_MAX: Final = 64
"""More at one time are closed unanswered."""
REQUEST_TIMEOUT_S: Final = 5.0
JSON: Final = "application/json"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

Answer = tuple[HTTPStatus, str, str]
"""The status, the content's type, the content."""
Page = Callable[[str], Answer]
"""Given what comes after its name: nothing, unless the name ends in a slash."""
Pages = Mapping[str, Page]


class StatusServer:
    """``with StatusServer(pages, ("127.0.0.1", 8080)):`` serves until the block is left. `address` has the real port.

    Raises InvalidInput when the address cannot be bound.
    """

    def __init__(self, pages: Pages, listen: tuple[str, int]) -> None:
        handler = type("Handler", (_Handler,), {"pages": pages})
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
    pages: Pages
    timeout = REQUEST_TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "incumbent"

    def do_GET(self) -> None:
        above, slash, rest = self.path.rpartition("/")
        if self.path in self.pages:
            self._answer(*self.pages[self.path](""))
        elif above + slash in self.pages:
            self._answer(*self.pages[above + slash](unquote(rest)))
        else:
            self._answer(HTTPStatus.NOT_FOUND, TEXT, f"no such page; there are {', '.join(self.pages)}\n")

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
