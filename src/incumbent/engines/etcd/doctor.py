"""What only an etcd can tell of itself: its version and what is known to be wrong with it, its least TTL, its members, its logins."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from incumbent.engines.api import TTL_MAX_S
from incumbent.engines.etcd import parse
from incumbent.engines.etcd.access import Access
from incumbent.engines.etcd.gateway import Gateway
from incumbent.engines.etcd.layout import lease_for
from incumbent.engines.etcd.sight import Sight
from incumbent.engines.etcd.store import Store
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.errors import EngineUnavailable, NotAllowed, Overloaded, ProtocolViolation

TTL_STEP_S: Final = 1.0
CLOCK: Final = (
    "monotonic: the leader of the members counts leases on a clock that no step of the wall clock moves; "
    "where its host is suspended, sessions last longer, never shorter"
)
Version = tuple[int, ...]


async def examine(url: str) -> Examination:
    """Grants one lease for a moment, to see which TTLs are given. Raises InvalidInput, EngineUnavailable, NotAllowed."""
    access, _, timeout_s = parse(url)
    gateway = Gateway(access, Sight())
    try:
        status = await gateway.read("/v3/maintenance/status", {}, timeout_s=timeout_s)
        members = (await gateway.read("/v3/cluster/member/list", {}, timeout_s=timeout_s)).get("members", [])
        alarms = await _alarms(gateway, timeout_s)
        findings = (
            *_of_version(_version(str(status.get("version", "")))),
            *_of_members(members, status),
            *_of_alarms(alarms),
            *_of_access(access, logins=await _asks_for_logins(access, timeout_s)),
        )
        return Examination(
            server=f"etcd {status.get('version', 'of unknown version')}, {len(members)} member{'s' * (len(members) != 1)}",
            ttl_min_s=float(await _least_ttl_s(gateway, timeout_s)),
            ttl_max_s=TTL_MAX_S,
            ttl_step_s=TTL_STEP_S,
            clock=CLOCK,
            findings=findings,
        )
    finally:
        await gateway.close()


async def _least_ttl_s(gateway: Gateway, timeout_s: float) -> int:
    store, lease = Store(gateway), lease_for(secrets.token_hex(16), 0)
    try:
        granted = await store.grant(lease, 1, timeout=timeout_s)
    except Overloaded:  # its quota is used up, which is said elsewhere: no lease is given, of any length
        return round(TTL_STEP_S)
    if granted is None:
        raise EngineUnavailable("a lease id drawn at random was taken; ask again")
    await store.revoke(lease, timeout=timeout_s)
    return granted


async def _alarms(gateway: Gateway, timeout_s: float) -> list[str]:
    try:
        told = await gateway.read("/v3/maintenance/alarm", {"action": "GET"}, timeout_s=timeout_s)
    except NotAllowed:  # an operator's to see
        return []
    return [str(alarm.get("alarm", "")) for alarm in told.get("alarms", [])]


async def _asks_for_logins(access: Access, timeout_s: float) -> bool:
    """Whether who has none is refused."""
    stranger = Gateway(Access(access.endpoints, tls=access.tls), Sight())
    try:
        await stranger.read("/v3/kv/range", {"key": "AA==", "count_only": True}, timeout_s=timeout_s)
    except NotAllowed:
        return True
    finally:
        await stranger.close()
    return False


def _version(text: str) -> Version:
    """Raises ProtocolViolation when that is none."""
    try:
        return tuple(int(part) for part in text.partition("-")[0].split("."))
    except ValueError as error:
        raise ProtocolViolation(f"{text[:40]!r} is no version of an etcd") from error


def _of_version(version: Version) -> Iterator[Finding]:
    said = ".".join(map(str, version))
    if version < (3, 4):
        yield Finding(
            Severity.FAULT,
            "etcd-too-old",
            f"{said} is older than 3.4: its gateway differs; use 3.5.24 or newer",
        )
    if (3, 5, 0) <= version < (3, 5, 3):
        yield Finding(
            Severity.FAULT,
            "etcd-inconsistent",
            f"with {said}, members may come to hold different data after a crash (etcd issue 13766); use 3.5.24 or newer",
        )
    if version < (3, 4, 20) or (3, 5, 0) <= version < (3, 5, 3):
        yield Finding(
            Severity.WARNING,
            "etcd-deposed-renewal",
            f"with {said}, a deposed leader says yes to renewals (etcd pull request 13932): this engine does not count them, "
            "candidates of other libraries do; use 3.4.20, 3.5.3 or newer",
        )
    if version < (3, 4, 31) or (3, 5, 0) <= version < (3, 5, 13):
        yield Finding(
            Severity.WARNING,
            "etcd-early-revoke",
            f"with {said}, a leader that stalls may end sessions that were renewed with the next one (etcd issue 15247): "
            "then two lead for a moment, and only the fencing token protects; use 3.4.31, 3.5.13 or newer",
        )
    if (3, 5, 1) <= version < (3, 5, 24):
        yield Finding(
            Severity.INFO,
            "etcd-learners",
            f"from {said}, an upgrade to 3.6 may turn voters into learners (etcd issues 19557, 20793); go to 3.5.24 first",
        )


def _of_members(members: list[dict[str, Any]], status: dict[str, Any]) -> Iterator[Finding]:
    voters = [member for member in members if not member.get("isLearner")]
    if len(voters) == 1:
        yield Finding(
            Severity.INFO, "etcd-one-member", "nothing survives the loss of its one member; three survive one"
        )
    elif len(voters) % 2 == 0:
        yield Finding(
            Severity.INFO,
            "etcd-even-members",
            f"{len(voters)} members survive no more losses than {len(voters) - 1}",
        )
    if not int(status.get("leader", 0)):
        yield Finding(
            Severity.FAULT,
            "etcd-no-leader",
            "its members have no leader now; mend their network or start the others",
        )


def _of_alarms(alarms: list[str]) -> Iterator[Finding]:
    if "NOSPACE" in alarms:
        yield Finding(
            Severity.FAULT,
            "etcd-no-space",
            "its quota is used up: compact, defragment, then `etcdctl alarm disarm`",
        )
    if "CORRUPT" in alarms:
        yield Finding(
            Severity.FAULT, "etcd-corrupt", "its members hold different data; replace the one that is alone"
        )


def _of_access(access: Access, *, logins: bool) -> Iterator[Finding]:
    if not logins:
        yield Finding(
            Severity.WARNING,
            "etcd-open",
            "it asks for no login: whoever reaches it can end terms; enable etcd's auth",
        )
        if access.user:
            yield Finding(
                Severity.WARNING, "etcd-login-useless", "the URL has a login, and this etcd asks for none"
            )
    if access.tls is None and not all(_is_loopback(host) for host, _ in access.endpoints):
        yield Finding(
            Severity.WARNING,
            "etcd-plain-text",
            "it is spoken to without TLS, beyond this host; use https and tls_ca",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
