"""A worker of a real server in front of which a fence stands: ``python -m tests.fencing.http_server KIND PATH [OPTION…]``

KIND is ``wsgi`` (the standard library's server) or ``asgi`` (uvicorn). The application appends the body of each POST to PATH, with
the token that it was admitted with; ``/slow`` first says that it is inside and waits for a file to appear. Prints its port.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

from incumbent.fencing import asgi, files, wsgi
from incumbent.fencing.http import ADMITTED

POLL_S = 0.002


class Notes:
    """What the application writes: a line per request, not atomic with anything."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, admitted: Any, body: bytes) -> bytes:
        token = str(admitted.token) if admitted else ""
        with self._path.open("a") as file:
            file.write(f"{token} {body.decode()}\n")
        return json.dumps({"token": token, "holder": admitted.holder if admitted else ""}).encode()

    def inside(self) -> None:
        self._path.with_name("inside").touch()

    @property
    def may_go_on(self) -> bool:
        return self._path.with_name("go-on").exists()


def wsgi_application(notes: Notes) -> WSGIApplication:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/slow":
            notes.inside()
            while not notes.may_go_on:
                time.sleep(POLL_S)
        answer = notes.add(environ.get(ADMITTED), body)
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    return application


def asgi_application(notes: Notes) -> asgi.Application:
    async def application(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/slow":
            notes.inside()
            while not notes.may_go_on:
                await asyncio.sleep(POLL_S)
        answer = notes.add(scope.get(ADMITTED), body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    return application


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def main(kind: str, path: str, *options: str) -> None:
    fence = files.Fence(path + ".store", "scheduler", wait_s=0.5)
    exclusive, notes = "exclusive" in options, Notes(Path(path))
    if kind == "wsgi":
        fenced = wsgi.Fenced(wsgi_application(notes), fence, exclusive=exclusive)
        with make_server("127.0.0.1", 0, fenced, _Threaded, _Quiet) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    else:
        import uvicorn

        app = asgi.Fenced(asgi_application(notes), fence, exclusive=exclusive, wait_s=0.5)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            print(listening.getsockname()[1], flush=True)
            config = uvicorn.Config(app, log_level="error", lifespan="off")
            asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main(*sys.argv[1:])
