"""The few calls of the Lease API that we need, with its refusals turned into errors of ours.

`Server` is one API server with its connections; `Leases` is one call on it, with a deadline: 429 is waited out as long as
Retry-After fits before the deadline (P49), a token that expired is read again once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from incumbent.engines.http import Head, HttpClient, Reply, parse_retry_after
from incumbent.engines.kubernetes.access import Access
from incumbent.engines.kubernetes.leases import API_VERSION, Lease, as_revision, name_of, uid_of
from incumbent.errors import EngineUnavailable, NotAllowed, OutcomeUnknown, Overloaded, Unsupported

PAGE: Final = 500
RETRY_AFTER_DEFAULT_S: Final = 0.2
READ_PAUSE_S: Final = 0.1
GROUP_PATH: Final = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


class Conflict(Exception):
    """Somebody changed it first. Nothing was done: read again."""


class NotThere(Exception):
    """404."""


class Exists(Exception):
    """There is a Lease of that name already."""


class Gone(Exception):
    """410: the past that was asked for is compacted."""


@dataclass(frozen=True, slots=True)
class Listed:
    revision: int
    leases: tuple[Lease, ...]


class Server:
    """Owns the connections. Close it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._http = HttpClient(access.host, access.port, access.tls, access.server_name)
        self._path = access.prefix + GROUP_PATH.format(access.namespace)

    async def warm_up(self) -> None:
        await self._http.warm_up()

    def until(self, deadline_s: float) -> Leases:
        """One call, to be answered before that time of the event loop."""
        return Leases(self, deadline_s)

    async def close(self) -> None:
        await self._http.close()

    def path(self, name: str = "", query: Mapping[str, str] | None = None) -> str:
        return self._path + (f"/{name}" if name else "") + (f"?{urlencode(query)}" if query else "")

    async def ask(
        self, method: str, target: str, body: object, timeout: float, *, afresh: bool = False
    ) -> Reply:
        data = b"" if body is None else json.dumps(body).encode()
        return await self._http.request(method, target, self.headers(afresh=afresh), data, timeout=timeout)

    def headers(self, *, afresh: bool = False) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "incumbent",
        }
        if token := self.access.token(afresh=afresh):
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def watch(
        self, revision: int, selector: str, *, seconds: int, slack_s: float
    ) -> AsyncIterator[dict[str, Any]]:
        """The events after a revision, for so long. Raises Gone, EngineUnavailable, NotAllowed."""
        query = {
            "watch": "1",
            "resourceVersion": str(revision),
            "labelSelector": selector,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        status = 0
        lines = self._http.lines(self.path(query=query), self.headers(), silence_s_max=seconds + slack_s)
        async for item in lines:
            if isinstance(item, Head):
                status = item.status
                if status in (401, 410):
                    self.access.token(afresh=True)
                if status == 410:
                    raise Gone
                continue
            if status != 200:
                raise _refusal(status, item)
            if not item:
                continue
            event = _parsed(item)
            if event.get("type") == "ERROR":
                if event.get("object", {}).get("code") == 410:
                    raise Gone
                raise EngineUnavailable(f"the watch failed: {event.get('object', {}).get('message')}")
            yield event


class Leases:
    """The Leases of one namespace. Raises EngineUnavailable, Overloaded, NotAllowed (not done), OutcomeUnknown, and those above."""

    def __init__(self, server: Server, deadline_s: float) -> None:
        self._server = server
        self._deadline_s = deadline_s
        self.wrote = False
        """Whether any change was acknowledged: what fails after that was not certainly not done."""

    async def get(self, name: str) -> Lease:
        return await self._call("GET", self._server.path(name))

    async def find(self, name: str) -> Lease | None:
        try:
            return await self.get(name)
        except NotThere:
            return None

    async def list(self, selector: str, *, page: int = PAGE) -> Listed:
        """At one revision that is no older than this call: without a resourceVersion a list is read from the quorum."""
        leases: list[Lease] = []
        query = {"labelSelector": selector, "limit": str(page)}
        while True:
            answer = await self._call("GET", self._server.path(query=query))
            # The items of a list do not say what they are.
            leases += ({**lease, "apiVersion": API_VERSION, "kind": "Lease"} for lease in answer["items"])
            more = answer["metadata"].get("continue")
            if not more:
                return Listed(as_revision(answer["metadata"]["resourceVersion"]), tuple(leases))
            query["continue"] = more

    async def create(self, lease: Lease) -> Lease:
        return await self._call("POST", self._server.path(), lease)

    async def update(self, lease: Lease) -> Lease:
        """Compares the version that `lease` carries."""
        return await self._call("PUT", self._server.path(name_of(lease)), lease)

    async def delete(self, lease: Lease) -> None:
        """That very Lease, whatever its version. Gone already is fine."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid_of(lease)}}
        try:
            await self._call("DELETE", self._server.path(name_of(lease)), options)
        except (NotThere, Conflict):
            return

    async def version(self) -> str:
        """What the server says it is."""
        return str(
            (await self._call("GET", self._server.access.prefix + "/version")).get("gitVersion", "unknown")
        )

    async def _call(self, method: str, target: str, body: object = None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        afresh = False
        while True:
            timeout = self._deadline_s - loop.time()
            if timeout <= 0:
                raise EngineUnavailable("the API server did not answer in time")
            try:
                reply = await self._server.ask(method, target, body, timeout, afresh=afresh)
            except OutcomeUnknown as error:
                if method != "GET":
                    raise
                await self._pause(READ_PAUSE_S, EngineUnavailable(f"the API server cannot be read: {error}"))
                continue
            if reply.status in (200, 201, 202):
                self.wrote = self.wrote or method != "GET"
                return _parsed(reply.body)
            if reply.status == 401 and not afresh:
                afresh = True
                continue
            refusal = _refusal(reply.status, reply.body)
            wait_s = parse_retry_after(reply.headers)
            if isinstance(refusal, Overloaded):
                await self._pause(RETRY_AFTER_DEFAULT_S if wait_s is None else wait_s, refusal)
            elif isinstance(refusal, OutcomeUnknown) and method == "GET":
                await self._pause(READ_PAUSE_S if wait_s is None else wait_s, EngineUnavailable(str(refusal)))
            elif isinstance(refusal, OutcomeUnknown) and wait_s is not None:
                await self._pause(
                    wait_s, refusal
                )  # whoever finds out what became of it comes back when told to
                raise refusal
            else:
                raise refusal

    async def _pause(self, seconds: float, refusal: Exception) -> None:
        """Wait, or give up at once when it would be over the deadline."""
        if asyncio.get_running_loop().time() + seconds >= self._deadline_s:
            raise refusal
        await asyncio.sleep(seconds)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OutcomeUnknown("the API server's answer is no JSON") from error
    if not isinstance(parsed, dict):
        raise OutcomeUnknown("the API server's answer is no object")
    return parsed


def _refusal(status: int, body: bytes) -> Exception:
    """What a status that is no success means."""
    reason, message = "", ""
    try:
        said = _parsed(body)
        reason, message = str(said.get("reason", "")), str(said.get("message", ""))[:500]
    except OutcomeUnknown:
        pass
    what = f"the API server answered {status} {reason}: {message}"
    match status:
        case 401:
            return EngineUnavailable(f"the API server does not accept our credentials: {message}")
        case 403:
            return NotAllowed(f"{what} (see docs/how-to/use-kubernetes.md for the Role)")
        case 404:
            return NotThere(what)
        case 409:
            return Exists(what) if reason == "AlreadyExists" else Conflict(what)
        case 410:
            return Gone(what)
        case 429:
            return Overloaded(what)
        case _ if status >= 500:
            return OutcomeUnknown(what)
        case _:
            return Unsupported(what)
