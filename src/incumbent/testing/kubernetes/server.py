"""The HTTP face of the fake: the paths, verbs, parameters and Status bodies of `coordination.k8s.io/v1` Leases."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from incumbent.testing.kubernetes.faults import Fault, Harm
from incumbent.testing.kubernetes.selectors import Matches, selector
from incumbent.testing.kubernetes.store import Event, Lease, Store
from incumbent.testing.kubernetes.validation import Refused, bad_request, decode, expired

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
BODY_BYTES_MAX: Final = 3 * 1024 * 1024
REQUESTS_KEPT_MAX: Final = 100_000
WATCH_S_DEFAULT: Final = 1800.0
REASONS: Final = {
    401: "Unauthorized",
    403: "Forbidden",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class _HungUp(Exception):
    """The connection of this request is closed."""


class KubernetesFake:
    """An API server that keeps nothing but Leases, strict where the real one is. On loopback unless `host` says otherwise, one per test.

        async with KubernetesFake() as fake:
            fake.kubeconfig(path)
            engine = await incumbent.connect(f"kubernetes://default?kubeconfig={path}")
            fake.faults.append(Fault(Harm.DROP_REPLY, "update"))

    What it does not do: admission, managed fields, patches, server-side apply, garbage collection by owner, other resources.
    """

    def __init__(
        self,
        *,
        token: str = "token-1",  # noqa: S107
        tls: ssl.SSLContext | None = None,
        bookmark_s: float = 1.0,
        host: str = "127.0.0.1",
    ) -> None:
        self.store = Store()
        self.faults: list[Fault] = []
        self.requests: deque[tuple[str, str]] = deque(maxlen=REQUESTS_KEPT_MAX)
        """Verb and Lease name of every request, in order."""
        self.token = token
        """What a client has to show; change it, and the old one has expired. Empty = anybody may come."""
        self.forbidden: set[str] = set()
        """Verbs that RBAC does not allow."""
        self._tls = tls
        self._bookmark_s = bookmark_s
        self._runner: web.AppRunner | None = None
        self._watch_epoch = 0
        self._host = host
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve; after `stop` on the same port, from what it kept."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/version", self._version)
        app.router.add_get(LEASES, self._list)
        app.router.add_post(LEASES, self._create)
        app.router.add_get(LEASES + "/{name}", self._get)
        app.router.add_put(LEASES + "/{name}", self._update)
        app.router.add_delete(LEASES + "/{name}", self._delete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and listen no more. The Leases are kept."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self.end_watches()
            await runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self._port}"

    def kubeconfig(self, path: Path, *, namespace: str = "default", ca_file: Path | None = None) -> Path:
        """Write a kubeconfig that leads here, with the token in a file beside it. Returns `path`."""
        token_file = path.with_suffix(".token")
        token_file.write_text(self.token)
        cluster: dict[str, Any] = {"server": self.url}
        if ca_file is not None:
            cluster["certificate-authority"] = str(ca_file)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [
                {"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": namespace}}
            ],
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "fake", "user": {"tokenFile": str(token_file)}}],
        }
        path.write_text(json.dumps(config, indent=1))
        return path

    def compact(self) -> None:
        """Forget the past, and end every watch with 410 Gone."""
        self.store.compact()
        self.end_watches()

    def end_watches(self) -> None:
        self._watch_epoch += 1
        self.store.wake()

    # --- requests -------------------------------------------------------------------------------------------------

    async def _version(self, request: web.Request) -> web.StreamResponse:
        async def act() -> dict[str, Any]:
            return {"major": "1", "minor": "31", "gitVersion": "v1.31.0-incumbent-fake"}

        return await self._answer(request, "version", "", act)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        namespace, name = _place(request)

        async def act() -> Lease:
            return self.store.get(namespace, name, request.query.get("resourceVersion", ""))

        return await self._answer(request, "get", name, act)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        namespace, _ = _place(request)
        body = await request.read()
        name = ""
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # decode() says what is wrong with it
            name = str(json.loads(body)["metadata"]["name"])

        async def act() -> Lease:
            return self.store.create(namespace, decode(body))

        return await self._answer(request, "create", name, act, code=201)

    async def _update(self, request: web.Request) -> web.StreamResponse:
        namespace, name = _place(request)
        body = await request.read()

        async def act() -> Lease:
            return self.store.update(namespace, name, decode(body))

        return await self._answer(request, "update", name, act)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        namespace, name = _place(request)
        body = await request.read()

        async def act() -> Lease:
            return self.store.delete(namespace, name, _preconditions(body))

        return await self._answer(request, "delete", name, act)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        namespace, _ = _place(request)
        query = request.query
        if query.get("watch") in ("1", "true"):
            return await self._watch(request, namespace)

        async def act() -> Lease:
            limit = query.get("limit", "0")
            if not limit.isdecimal():
                raise bad_request(f"limit: {limit!r} is no number")
            return self.store.list_leases(
                namespace,
                selector(query.get("labelSelector", ""), query.get("fieldSelector", "")),
                query.get("resourceVersion", ""),
                int(limit),
                query.get("continue", ""),
            )

        return await self._answer(request, "list", "", act)

    async def _answer(
        self, request: web.Request, verb: str, name: str, act: Any, code: int = 200
    ) -> web.StreamResponse:
        """Do `act`, unless a fault or the access rules say otherwise."""
        self.requests.append((verb, name))
        fault = next((fault for fault in self.faults if fault.strikes(verb, name)), None)
        try:
            self._check_access(request, verb)
            if fault is not None:
                await self._before(request, fault)
            body = await act()
            if fault is not None:
                await self._after(request, fault)
        except Refused as refused:
            return _refusal(refused)
        except _HungUp:
            return web.Response()  # to nobody
        return web.json_response(body, status=code)

    def _check_access(self, request: web.Request, verb: str) -> None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        if verb in self.forbidden:
            raise Refused(
                403, "Forbidden", f'leases.coordination.k8s.io is forbidden: cannot {verb} resource "leases"'
            )

    async def _before(self, request: web.Request, fault: Fault) -> None:
        match fault.harm:
            case Harm.REFUSE:
                _hang_up(request)
            case Harm.DELAY:
                await asyncio.sleep(fault.seconds)
            case Harm.STATUS:
                raise _planted(fault)
            case _:
                pass

    async def _after(self, request: web.Request, fault: Fault) -> None:
        match fault.harm:
            case Harm.DROP_REPLY:
                await asyncio.sleep(fault.seconds)
                _hang_up(request)
            case Harm.DELAY_REPLY:
                await asyncio.sleep(fault.seconds)
            case Harm.STATUS_AFTER:
                raise _planted(fault)
            case _:
                pass

    # --- watching -------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.Request, namespace: str) -> web.StreamResponse:
        self.requests.append(("watch", ""))
        fault = next((fault for fault in self.faults if fault.strikes("watch", "")), None)
        query = request.query
        try:
            self._check_access(request, "watch")
            if fault is not None:
                await self._before(request, fault)
            matches = selector(query.get("labelSelector", ""), query.get("fieldSelector", ""))
            position, first = self._begin(query.get("resourceVersion", ""), namespace, matches)
        except Refused as refused:
            return _refusal(refused)
        except _HungUp:
            return web.Response()  # to nobody
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the client went away
            await self._stream(request, response, namespace, matches, position, first)
        return response

    def _begin(self, resource_version: str, namespace: str, matches: Matches) -> tuple[int, list[Lease]]:
        """Where a watch begins, and what it tells first. Raises Refused, 410 among them."""
        if resource_version in ("", "0"):
            listed = self.store.list_leases(namespace, matches, resource_version)
            return int(listed["metadata"]["resourceVersion"]), listed["items"]
        if not resource_version.isdecimal():
            raise bad_request(f"{resource_version!r} is no resource version")
        self.store.events_after(int(resource_version))
        return int(resource_version), []

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        namespace: str,
        matches: Matches,
        position: int,
        first: list[Lease],
    ) -> None:
        loop, epoch = asyncio.get_running_loop(), self._watch_epoch
        ends = loop.time() + float(request.query.get("timeoutSeconds", WATCH_S_DEFAULT))
        bookmarks = request.query.get("allowWatchBookmarks") in ("1", "true")
        for lease in first:
            await _send(response, "ADDED", lease)
        while True:
            pulse = self.store.pulse  # taken before looking
            if self._runner is None:
                return
            if self._watch_epoch != epoch:
                told_gone = expired("The resourceVersion for the provided watch is too old.")
                await _send(response, "ERROR", told_gone.status())
                return
            try:
                events = self.store.events_after(position)
            except Refused as gone:  # so slow that what it has yet to tell is forgotten
                await _send(response, "ERROR", gone.status())
                return
            for event in events:
                position = event.revision
                told = _as_seen(event, namespace, matches)
                if told is not None:
                    await _send(response, told, event.lease)
            left_s = ends - loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(left_s, self._bookmark_s))):
                    await pulse.wait()
            except TimeoutError:
                if bookmarks:
                    await _send(response, "BOOKMARK", _bookmark(position))
                if left_s <= self._bookmark_s:
                    return


def _as_seen(event: Event, namespace: str, matches: Matches) -> str | None:
    """What that event is for a watch that selects: a Lease that no longer matches is deleted for it."""
    if event.lease["metadata"]["namespace"] != namespace:
        return None
    was = event.before is not None and matches(event.before)
    now = event.kind != "DELETED" and matches(event.lease)
    match (was, now):
        case (False, True):
            return "ADDED"
        case (True, True):
            return "MODIFIED"
        case (True, False):
            return "DELETED"
        case _:
            return None


async def _send(response: web.StreamResponse, kind: str, item: dict[str, Any]) -> None:
    await response.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")


def _bookmark(revision: int) -> dict[str, Any]:
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"resourceVersion": str(revision), "creationTimestamp": None},
        "spec": {},
    }


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info.get("name", "")


def _preconditions(body: bytes) -> dict[str, str]:
    if not body:
        return {}
    try:
        options = json.loads(body)
        preconditions = options.get("preconditions") or {}
    except (ValueError, AttributeError) as error:
        raise bad_request("the body is no DeleteOptions") from error
    if not isinstance(preconditions, dict) or not all(isinstance(v, str) for v in preconditions.values()):
        raise bad_request("preconditions is no map of strings")
    return preconditions


def _planted(fault: Fault) -> Refused:
    return Refused(
        fault.status,
        REASONS.get(fault.status, "Unknown"),
        "a planted fault",
        retry_after_s=fault.retry_after_s,
    )


def _refusal(refused: Refused) -> web.Response:
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    return web.json_response(refused.status(), status=refused.code, headers=headers)


def _hang_up(request: web.Request) -> None:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    raise _HungUp
