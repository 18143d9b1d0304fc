"""One client's way to an etcd: JSON over HTTP, several endpoints, a login that is renewed, and every answer looked at.

Rules of the place: a request that an endpoint does not answer in time is given up there, and the next one is asked. Whether it
may be asked again is the caller's affair: EngineUnavailable = certainly not done, OutcomeUnknown = sent, no answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from incumbent.engines.etcd.access import Access, Address, Context, show
from incumbent.engines.etcd.sight import Sight
from incumbent.engines.etcd.wire import Json, Meaning, Refusal, header_of, meaning
from incumbent.engines.http import LOST, Connection, Head, HttpClient
from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    NotAllowed,
    OutcomeUnknown,
    Overloaded,
    ProtocolViolation,
)

ATTEMPT_S: Final = 1.0
"""How long one endpoint may take to answer. A member that is stopped or cut off never does."""
SUSPECT_S: Final = 0.2
"""A call that was cancelled after waiting so long in vain: the next one goes to another endpoint."""
PAUSE_S: Final = 0.05
"""Before the endpoints are asked again, when none could be reached."""
CONNECTIONS_MAX: Final = 16
"""Per endpoint, for calls. More wait for one of them. Watches have connections of their own."""
logger: Final = logging.getLogger("incumbent")


class Gateway:
    """Owns its connections: close it."""

    def __init__(self, access: Access, sight: Sight) -> None:
        self.access = access
        self.sight = sight
        self.closed = False
        self._context = Context(access)
        self._tls = self._context.current()
        self._clients = self._connect()
        self._places = {each: asyncio.Semaphore(CONNECTIONS_MAX) for each in access.endpoints}
        self._at = 0
        self._token: str | None = None  # None: not logged in. Empty: this etcd asks for no login
        self._logging_in = asyncio.Lock()

    @property
    def endpoint(self) -> Address:
        return self.access.endpoints[self._at]

    def leave(self, endpoint: Address) -> None:
        """It did not serve: ask the next one from now on."""
        if endpoint == self.endpoint:
            self._at = (self._at + 1) % len(self.access.endpoints)

    async def ask(self, path: str, body: Json, *, timeout_s: float, linearizable: bool = True) -> Json:
        """Ask one endpoint after the other until one took the request, and give back its answer.

        Raises EngineUnavailable, Overloaded (certainly not done), OutcomeUnknown, NotAllowed, IncarnationChanged, and the
        Refusals that mean something to the caller.
        """
        deadline = _now_s() + timeout_s
        tried = 0
        while True:
            endpoint = self.endpoint
            try:
                return await self.ask_at(
                    endpoint,
                    path,
                    body,
                    timeout_s=min(ATTEMPT_S, deadline - _now_s()),
                    linearizable=linearizable,
                )
            except EngineUnavailable as error:
                tried += 1
                if self.closed or _now_s() >= deadline:
                    raise
                trouble = error
            if tried % len(self.access.endpoints) == 0:
                if _now_s() + 2 * PAUSE_S >= deadline:
                    raise trouble
                await asyncio.sleep(PAUSE_S)

    async def read(self, path: str, body: Json, *, timeout_s: float, linearizable: bool = True) -> Json:
        """As `ask`, for what changes nothing: asked again also when an answer was lost. Raises no OutcomeUnknown."""
        deadline = _now_s() + timeout_s
        while True:
            try:
                return await self.ask(path, body, timeout_s=deadline - _now_s(), linearizable=linearizable)
            except OutcomeUnknown as error:
                if _now_s() >= deadline:
                    raise EngineUnavailable(str(error)) from error

    async def ask_at(
        self, endpoint: Address, path: str, body: Json, *, timeout_s: float, linearizable: bool = True
    ) -> Json:
        """Ask this endpoint. Raises as `ask`."""
        token = await self._login(endpoint, timeout_s)
        mark = self.sight.mark()
        try:
            told = await self._post(endpoint, path, body, timeout_s, token)
        except Refusal as refusal:
            if meaning(refusal) is not Meaning.TOKEN_BAD or not self.access.user:
                raise self._translated(refusal, endpoint) from refusal
            self.forget(token)  # P48: a token that ran out ends nothing
            token = await self._login(endpoint, timeout_s)
            mark = self.sight.mark()
            try:
                told = await self._post(endpoint, path, body, timeout_s, token)
            except Refusal as again:
                raise self._translated(again, endpoint) from again
        if told or not path.startswith("/v3/maintenance/"):  # an etcd 3.4 without alarms says just nothing
            self.sight.see(mark, header_of(told), linearizable=linearizable)
        return told

    @asynccontextmanager
    async def stream(
        self, endpoint: Address, path: str, body: bytes
    ) -> AsyncIterator[tuple[Connection, Head]]:
        """A connection over which answers come, for as long as they do. Raises EngineUnavailable when it does not begin; then
        whatever reading from it raises (LOST)."""
        token = await self._login(endpoint, ATTEMPT_S)
        # etcd ends a stream that asks for it once its member has lost the leader (P38).
        headers = {**_headers(token), "Grpc-Metadata-hasleader": "true"}
        connection: Connection | None = None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                connection = Connection(
                    *await asyncio.open_connection(*endpoint, ssl=self._context.current())
                )
                await connection.send("POST", show(endpoint), path, headers, body)
                head = await connection.head()
        except BaseException as error:
            if connection is not None:
                connection.close()
            if not isinstance(error, LOST):
                raise
            self.leave(endpoint)
            raise EngineUnavailable(f"{show(endpoint)} cannot be reached: {_words(error)}") from error
        try:
            yield connection, head
        finally:
            connection.close()

    def forget(self, token: str | None = None) -> None:
        """Log in again before the next request; when `token` is given, unless that was done since."""
        if token is None or self._token == token:
            self._token = None

    async def close(self) -> None:
        self.closed = True
        for client in self._clients.values():
            await client.close()

    # --- one request ----------------------------------------------------------------------------------------------

    async def _post(self, endpoint: Address, path: str, body: Json, timeout_s: float, token: str) -> Json:
        """Raises EngineUnavailable when it was certainly not sent, OutcomeUnknown, Refusal."""
        if self.closed:
            raise EngineUnavailable("this engine is closed")
        data, began_s = msgspec.json.encode(body), _now_s()
        await self._take_place(endpoint, timeout_s)
        try:
            client = await self._client(endpoint)
            reply = await client.request("POST", path, _headers(token), data, timeout=timeout_s)
        except (EngineUnavailable, OutcomeUnknown):
            self.leave(endpoint)
            raise
        except asyncio.CancelledError:
            if _now_s() - began_s > SUSPECT_S:
                self.leave(endpoint)
            raise
        finally:
            self._places[endpoint].release()
        return _decoded(reply.body, reply.status, endpoint)

    async def _take_place(self, endpoint: Address, timeout_s: float) -> None:
        """Among the requests under way there; you owe a release. Raises EngineUnavailable."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._places[endpoint].acquire()
        except TimeoutError as error:
            raise EngineUnavailable(
                f"{CONNECTIONS_MAX} requests are under way to {show(endpoint)}"
            ) from error

    def _translated(self, refusal: Refusal, endpoint: Address) -> Exception:
        """What etcd's no means to who asked; the refusal itself where only the caller can tell."""
        words = f"{show(endpoint)}: {refusal.words}"
        match meaning(refusal):
            case Meaning.TOKEN_BAD if self.access.user:
                return EngineUnavailable(words)
            case Meaning.TOKEN_BAD:
                return NotAllowed(f"{words}; this etcd asks for a login: write etcd://user:password@host")
            case Meaning.DENIED:
                return NotAllowed(words)
            case Meaning.TOO_LARGE:
                return InvalidInput(
                    "writes",
                    "are more than this etcd takes at once",
                    "write less, or raise --max-request-bytes",
                )
            case Meaning.TOO_MANY:
                return Overloaded(words)
            case Meaning.NOT_DONE:
                self.leave(endpoint)
                return EngineUnavailable(words)
            case Meaning.UNKNOWN:
                self.leave(endpoint)
                return OutcomeUnknown(words)
            case _:
                return refusal

    async def _client(self, endpoint: Address) -> HttpClient:
        """With the certificates of now."""
        tls = self._context.current()
        if tls is not self._tls:
            former, self._tls = self._clients, tls
            self._clients = self._connect()
            for client in former.values():
                await client.close()  # those that nobody uses; answers under way still come
        return self._clients[endpoint]

    def _connect(self) -> dict[Address, HttpClient]:
        return {each: HttpClient(*each, self._tls) for each in self.access.endpoints}

    # --- the login ------------------------------------------------------------------------------------------------

    async def _login(self, endpoint: Address, timeout_s: float) -> str:
        """The token to show. Raises EngineUnavailable, NotAllowed."""
        if not self.access.user:
            return ""
        async with self._logging_in:
            if self._token is None:
                self._token = await self._new_token(endpoint, timeout_s)
            return self._token

    async def _new_token(self, endpoint: Address, timeout_s: float) -> str:
        body = {"name": self.access.user, "password": self.access.password}
        try:
            told = await self._post(endpoint, "/v3/auth/authenticate", body, timeout_s, "")
        except OutcomeUnknown as error:  # a token nobody got is no harm
            raise EngineUnavailable(f"no login: {error}") from error
        except Refusal as refusal:
            match meaning(refusal):
                case Meaning.NO_LOGINS:
                    logger.warning(
                        "%s asks for no login; the one in the URL protects nothing", show(endpoint)
                    )
                    return ""
                case Meaning.UNKNOWN | Meaning.NOT_DONE:
                    self.leave(endpoint)
                    raise EngineUnavailable(f"{show(endpoint)}: no login: {refusal.words}") from refusal
                case _:
                    raise NotAllowed(f"{show(endpoint)}: {refusal.words}") from refusal
        token = told.get("token")
        if not isinstance(token, str):
            raise ProtocolViolation(f"{show(endpoint)} answers a login without a token")
        return token


def _headers(token: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = token
    return headers


def _decoded(told: bytes, status: int, endpoint: Address) -> Json:
    """Raises Refusal, ProtocolViolation."""
    try:
        answer = msgspec.json.decode(told)
        if not isinstance(answer, dict):
            raise TypeError("no object")
        if "error" in answer:
            raise refusal_of(answer)
        answer = answer.get("result", answer)  # of a stream of one
        if status != 200 or not isinstance(answer, dict):
            raise TypeError(f"status {status}")
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ProtocolViolation(f"{show(endpoint)} is no etcd with its JSON gateway: {error}") from error
    return answer


def refusal_of(answer: Json) -> Refusal:
    """From the two shapes that gateways give an error."""
    error = answer["error"]
    if isinstance(error, dict):
        return Refusal(int(error.get("grpc_code") or error.get("code") or 2), str(error.get("message", "")))
    return Refusal(int(answer.get("code", 2)), str(answer.get("message", error)))


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _now_s() -> float:
    """Only for giving up: no lease is measured by it."""
    return asyncio.get_running_loop().time()
