"""The middlewares for ASGI and WSGI, called as a server would call them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from incumbent.errors import EngineUnavailable, InvalidInput, StaleToken, Unsupported
from incumbent.fencing import asgi, wsgi
from incumbent.fencing.http import ADMITTED, Required
from incumbent.fencing.memory import Fence


class Server:
    """Either kind, behind one call."""

    def __init__(self, kind: str, fence: Fence, handler: Any = None, **options: Any) -> None:
        self.admitted: list[Any] = []
        self.began = 0
        self._kind = kind
        self._handler = handler or (lambda: None)
        if kind == "asgi":
            self.asgi = asgi.Fenced(self._asgi, fence, **options)
        else:
            self.wsgi = wsgi.Fenced(self._wsgi, fence, **options)

    def ask(self, method: str = "POST", **headers: str) -> tuple[int, dict[str, str], bytes]:
        if self._kind == "asgi":
            return asyncio.run(self.ask_asgi(method, **headers))
        environ = {
            "REQUEST_METHOD": method,
            **{f"HTTP_FENCING_{k.upper()}": v.encode().decode("latin-1") for k, v in headers.items()},
        }
        started: list[tuple[str, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], failed: Any = None) -> Any:
            if started and failed:
                raise failed[1]
            started.append((status, dict(headers)))

        body = self.wsgi(environ, start_response)
        try:
            data = b"".join(body)
        finally:
            getattr(body, "close", lambda: None)()
        return int(started[0][0][:3]), {k.lower(): v for k, v in started[0][1].items()}, data

    async def ask_asgi(self, method: str = "POST", **headers: str) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []
        lines = [(f"fencing-{k}".encode(), v.encode()) for k, v in headers.items()]

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi({"type": "http", "method": method, "headers": lines}, _nothing, send)
        start, *rest = sent
        headers = {k.decode(): v.decode() for k, v in start["headers"]}
        return start["status"], headers, b"".join(message["body"] for message in rest)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self._take(scope)
        handled = self._handler()
        if handled is not None:
            await handled
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def _wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self._take(environ)
        self._handler()
        start_response("200 OK", [])
        return [b"ok"]

    def _take(self, request: Any) -> None:
        self.began += 1
        self.admitted.append(request.get(ADMITTED))


async def _nothing() -> Any:
    return {"type": "websocket.connect"}


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fence() -> Fence:
    return Fence("scheduler", wait_s=0.05)


def test_the_handler_is_told_what_was_admitted(kind: str, fence: Fence) -> None:
    server = Server(kind, fence)
    assert server.ask(token="7", holder="nöde-a")[0] == 200
    (admitted,) = server.admitted
    assert (admitted.name, admitted.token, admitted.holder) == ("scheduler", 7, "nöde-a")
    assert fence.highest() == 7


def test_a_stale_request_does_not_reach_the_handler(kind: str, fence: Fence) -> None:
    """P33: 412, with the highest token seen as a header and as text."""
    server = Server(kind, fence)
    fence.prime(9)
    status, headers, body = server.ask(token="8")
    assert (status, headers["fencing-token-highest"], server.began) == (412, "9", 0)
    assert headers["content-length"] == str(len(body))
    assert json.loads(body) == {
        "error": "stale_token", "token": "8", "highest": "9",
        "detail": "scheduler: token 8 is stale, the resource has seen 9",
    }  # fmt: skip
    assert fence.refused() == 1


@pytest.mark.parametrize(
    ("required", "passes"),
    [
        ("writes", {"GET", "HEAD", "OPTIONS", "TRACE"}),
        ("always", set()),
        ("never", {"GET", "POST", "DELETE"}),
    ],
)
def test_who_must_carry_a_token(kind: str, fence: Fence, required: str, passes: set[str]) -> None:
    server = Server(kind, fence, required=required)
    for method in ("GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "BREW"):
        expected = 200 if method in passes or required == Required.NEVER else 428
        assert server.ask(method)[0] == expected, method
    fence.prime(9)
    assert server.ask("GET", token="8")[0] == 412  # whoever carries one is checked
    assert server.ask("GET", token="x")[0] == 400


def test_a_bad_holder_is_refused(kind: str, fence: Fence) -> None:
    assert Server(kind, fence).ask(token="7", holder="x" * 1025)[0] == 400


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_refusal_of_the_handlers_own_transaction_is_answered(
    kind: str, fence: Fence, *, exclusive: bool
) -> None:
    """P33: the check that counts is the handler's."""

    def handler() -> None:
        raise StaleToken("scheduler", 7, 9)

    server = Server(kind, fence, handler, exclusive=exclusive)
    status, headers, _ = server.ask(token="7")
    assert (status, headers["fencing-token-highest"]) == (412, "9")
    fence.prime(7)  # it was let go


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("error", [ZeroDivisionError(), EngineUnavailable("of the handler's own")])
def test_other_errors_of_the_handler_are_its_own(
    kind: str, fence: Fence, *, exclusive: bool, error: Exception
) -> None:
    """Something may have been done: so it is not said that nothing was."""

    def handler() -> None:
        raise error

    server = Server(kind, fence, handler, exclusive=exclusive)
    with pytest.raises(type(error)):
        server.ask(token="7")
    fence.prime(7)
    assert fence.highest() == 7


def test_a_fence_that_cannot_be_asked_is_unavailable(kind: str, fence: Fence) -> None:
    server = Server(kind, fence)
    with fence.write(5):
        status, headers, body = server.ask(token="7")
    assert (status, headers["retry-after"], server.began) == (503, "1", 0)
    assert json.loads(body)["error"] == "fence_unavailable"


def test_an_exclusive_handler_runs_inside_the_fence(kind: str, fence: Fence) -> None:
    def handler() -> None:
        assert fence.highest() == 7  # raised before it begins, in case it never ends
        with pytest.raises(EngineUnavailable), fence.write(8):
            pass

    assert Server(kind, fence, handler, exclusive=True).ask(token="7")[0] == 200
    fence.prime(8)


def test_what_cannot_be_is_refused(kind: str, fence: Fence) -> None:
    class Shared(Fence):
        exclusive = False  # type: ignore[misc]

    with pytest.raises(Unsupported, match="no lock to hold"):
        Server(kind, Shared("scheduler"), exclusive=True)
    with pytest.raises(InvalidInput, match="^required: "):
        Server(kind, fence, required="sometimes")


def test_a_wsgi_answer_in_pieces_holds_the_fence_until_it_is_closed(fence: Fence) -> None:
    closed: list[bool] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    body = wsgi.Fenced(application, fence, exclusive=True)(
        {"REQUEST_METHOD": "POST", "HTTP_FENCING_TOKEN": "7"}, lambda *_: lambda _: None
    )
    assert next(iter(body)) == b"one"
    with pytest.raises(EngineUnavailable):
        fence.prime(8)
    body.close()  # type: ignore[attr-defined]
    assert closed == [True]
    fence.prime(8)


def test_a_stale_token_after_the_answer_has_begun_is_the_servers_to_see(fence: Fence) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise StaleToken("scheduler", 7, 9)

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "headers": [(b"fencing-token", b"7")]}
    with pytest.raises(StaleToken):
        asyncio.run(asgi.Fenced(application, fence)(scope, _nothing, send))


async def test_whoever_is_cancelled_lets_go(fence: Fence) -> None:
    """P4: inside the handler, and while it waits for its turn."""
    inside = asyncio.Event()

    async def stay() -> None:
        inside.set()
        await asyncio.sleep(60)

    server = Server("asgi", fence, stay, exclusive=True, wait_s=10.0)
    first = asyncio.create_task(server.ask_asgi(token="7"))
    await inside.wait()
    second = asyncio.create_task(server.ask_asgi(token="7"))
    await asyncio.sleep(0)
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    fence.prime(8)
    assert (await server.ask_asgi(token="7"))[0] == 412


async def test_whoever_is_cancelled_at_the_door_does_not_stay_inside(fence: Fence) -> None:
    """P4: the thread that gets the lock after the request has gone gives it back at once."""
    server = Server("asgi", fence, exclusive=True)
    with fence.write(5):
        task = asyncio.create_task(server.ask_asgi(token="7"))
        while not server.asgi._turn.locked():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.began == 0
    fence.prime(8)


async def test_a_request_waits_for_its_turn_so_long(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        inside.set()
        await go_on.wait()

    server = Server("asgi", fence, stay, exclusive=True, wait_s=0.01)
    first = asyncio.create_task(server.ask_asgi(token="7"))
    await inside.wait()
    assert (await server.ask_asgi(token="8"))[0] == 503
    monkeypatch.setattr(asgi, "WAITERS_MAX", 0)
    assert (await server.ask_asgi(token="8"))[0] == 503
    go_on.set()
    assert (await first)[0] == 200


async def test_what_is_no_http_request(fence: Fence) -> None:
    """A WebSocket is refused, since a check at its opening says nothing of what comes later."""
    seen, sent = list[str](), list[Any]()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    fenced = asgi.Fenced(application, fence)
    await fenced({"type": "lifespan"}, _nothing, send)
    await fenced({"type": "websocket", "headers": []}, _nothing, send)
    assert (seen, [m["type"] for m in sent]) == (["lifespan"], ["websocket.close"])
    await asgi.Fenced(application, fence, pass_websockets=True)({"type": "websocket"}, _nothing, send)
    assert seen == ["lifespan", "websocket"]
    with pytest.raises(Unsupported):
        await fenced({"type": "carrier-pigeon"}, _nothing, send)
