"""What `incumbent doctor` learns of an API server: whether its revisions make tokens, and whether our rights suffice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.kubernetes import parse
from incumbent.engines.kubernetes.access import open_access
from incumbent.engines.kubernetes.client import Conflict, Leases, NotThere, Server
from incumbent.engines.kubernetes.leases import (
    EVERYTHING_BUT_BLOBS,
    KIND,
    OURS,
    Lease,
    new_lease,
    renewed,
    version_of,
)
from incumbent.errors import IncumbentError, NotAllowed, Unsupported

SESSIONS_MANY: Final = 500
WATCH_S: Final = 1


async def examine(url: str) -> Examination:
    """Makes one Lease, changes it and deletes it. Raises InvalidInput, EngineUnavailable."""
    place, timeout_s = parse(url)
    server = Server(open_access(place))
    try:
        leases = server.until(asyncio.get_running_loop().time() + timeout_s)
        version = await _version(leases)
        findings = [*await _rights(server, leases), *await _crowd(leases)]
    finally:
        await server.close()
    findings.append(
        Finding(
            Severity.INFO,
            "tested-on-a-fake",
            "this engine is tested on a strict fake of the Lease API, not on a real API server: try a failover before you rely on it",
        )
    )
    return Examination(
        server=f"Kubernetes {version} at {server.access.host}:{server.access.port}, namespace {server.access.namespace}",
        ttl_min_s=TTL_MIN_S,
        ttl_max_s=TTL_MAX_S,
        clock="the server's is never read: who looks counts on its own, so a step of any wall clock changes nothing",
        findings=tuple(findings),
    )


async def _version(leases: Leases) -> str:
    try:
        return await leases.version()
    except (NotAllowed, NotThere):
        return "(version not told)"


async def _rights(server: Server, leases: Leases) -> list[Finding]:
    """Every verb that the engine needs, tried on a Lease of its own."""
    findings: list[Finding] = []
    made: list[Lease] = []

    async def create() -> None:
        made.append(
            await leases.create(new_lease(f"{OURS}doctor-{secrets.token_hex(8)}", {KIND: "doctor"}, {}, {}))
        )

    async def update() -> None:
        if made:
            made.append(await leases.update(renewed(made[-1])))

    async def get() -> None:
        with suppress(NotThere):
            await leases.get(made[-1]["metadata"]["name"] if made else f"{OURS}doctor")

    async def delete() -> None:
        if made:
            await leases.delete(made[-1])

    async def watch() -> None:
        listed = await leases.list(f"{KIND}=doctor")
        async for _ in server.watch(listed.revision, f"{KIND}=doctor", seconds=WATCH_S, slack_s=2.0):
            return

    tried: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
        ("create", create),
        ("get", get),
        ("update", update),
        ("list and watch", watch),
        ("delete", delete),
    )
    for verb, attempt in tried:
        try:
            await attempt()
        except NotAllowed as error:
            findings.append(
                Finding(
                    Severity.FAULT,
                    "right-missing",
                    f"Leases: {verb} is not allowed; extend the Role ({error})",
                )
            )
        except Conflict:
            pass  # somebody else touched our Lease; odd, and harmless
        except Unsupported as error:
            findings.append(Finding(Severity.FAULT, "revisions-unusable", str(error)))
    with suppress(Unsupported):  # told already
        versions = [version_of(lease) for lease in made]
        if versions != sorted(set(versions)):
            findings.append(
                Finding(
                    Severity.FAULT,
                    "revisions-unusable",
                    f"resourceVersions do not rise ({versions}): no tokens",
                )
            )
    return findings


async def _crowd(leases: Leases) -> list[Finding]:
    try:
        listed = await leases.list(f"{EVERYTHING_BUT_BLOBS},{KIND}=session")
    except IncumbentError:
        return []  # a missing right is told of above
    if len(listed.leases) <= SESSIONS_MANY:
        return []
    words = f"{len(listed.leases)} sessions in this namespace, and every claim lists them: give applications namespaces of their own"
    return [Finding(Severity.WARNING, "many-sessions", words)]
