"""What only ZooKeeper can tell of itself: its version and mode where it says so, and its bounds by trying them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import TTL_MAX_S
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.zookeeper import wire
from incumbent.engines.zookeeper.place import Address, Place, parse
from incumbent.engines.zookeeper.visit import dial, pay
from incumbent.errors import EngineUnavailable, SessionGone

ASK_TIMEOUT_S: Final = 3.0
ANSWER_BYTES_MAX: Final = 65536
VERSION_MIN: Final = (3, 5)
TTL_USUAL_S: Final = 5.0
CLOCK: Final = (
    "monotonic: the leader counts sessions by System.nanoTime, so a step of the wall clock changes nothing; it rounds their ends "
    "up to its tick"
)


@dataclass(frozen=True, slots=True)
class Told:
    """By one server. None: it did not say."""

    address: Address
    reached: bool
    version: str | None = None
    mode: str | None = None

    @property
    def name(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"


async def examine(url: str) -> Examination:
    """Raises InvalidInput, EngineUnavailable when no server with a quorum behind it answers."""
    place = parse(url)
    told = await asyncio.gather(*(_ask(place, address) for address in place.hosts))
    shortest_ms, longest_ms = await _granted(place, 1), await _granted(place, int(TTL_MAX_S * 1000))
    versions = sorted({one.version for one in told if one.version is not None})
    count = len(told)
    server = f"ZooKeeper {' and '.join(versions) or 'of unknown version'}, {count} server{'s' * (count > 1)} in the URL"
    return Examination(
        server=server,
        ttl_min_s=shortest_ms / 1000,
        ttl_max_s=longest_ms / 1000,
        clock=CLOCK,
        findings=(*_about_servers(told), *_about_ttls(shortest_ms, longest_ms), *_about_access(place)),
    )


def _about_servers(told: list[Told]) -> list[Finding]:
    findings = [
        Finding(
            Severity.WARNING, "server-unreachable", f"{one.name} is not reached: start it or leave it out"
        )
        for one in told
        if not one.reached
    ]
    silent = [one.name for one in told if one.reached and one.version is None]
    if silent:
        findings.append(
            Finding(
                Severity.INFO,
                "version-unknown",
                f"{', '.join(silent)} does not answer srvr: add it to 4lw.commands.whitelist to have the version looked at",
            )
        )
    findings += [
        Finding(
            Severity.FAULT,
            "version-too-old",
            f"{one.name} is {one.version}: use {'.'.join(map(str, VERSION_MIN))} or newer",
        )
        for one in told
        if one.version is not None and _numbers(one.version) < VERSION_MIN
    ]
    if any(one.mode == "standalone" for one in told):
        findings.append(
            Finding(
                Severity.WARNING,
                "standalone",
                "one server alone: while it is down nobody leads, and with its disk everything is lost; run three",
            )
        )
    return findings


def _about_ttls(shortest_ms: int, longest_ms: int) -> list[Finding]:
    if shortest_ms <= TTL_USUAL_S * 1000 <= longest_ms:
        return []
    bounds = f"{shortest_ms / 1000} to {longest_ms / 1000} s"
    return [
        Finding(
            Severity.WARNING,
            "usual-ttl-refused",
            f"a TTL of {TTL_USUAL_S} s is outside of {bounds}: give another, or change tickTime or min/maxSessionTimeout",
        )
    ]


def _about_access(place: Place) -> list[Finding]:
    if place.login is None:
        return [
            Finding(
                Severity.INFO,
                "open-to-all",
                "no user in the URL, so whoever reaches ZooKeeper may remove any candidate: write user:password@",
            )
        ]
    if place.tls is None:
        return [
            Finding(
                Severity.WARNING,
                "password-in-clear",
                "the password crosses the network unencrypted: give tls_ca and ZooKeeper's secureClientPort",
            )
        ]
    return []


async def _ask(place: Place, address: Address) -> Told:
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await dial(place, address)
    except (EngineUnavailable, TimeoutError):
        return Told(address, reached=False)
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            writer.write(b"srvr")
            answer = (await reader.read(ANSWER_BYTES_MAX)).decode(errors="replace")
    except (OSError, TimeoutError):
        answer = ""
    finally:
        writer.close()
    version = re.search(r"^Zookeeper version: ([\d.]+\d)", answer)
    mode = re.search(r"^Mode: (\w+)", answer, re.MULTILINE)
    return Told(address, True, version[1] if version else None, mode[1] if mode else None)


async def _granted(place: Place, asked_ms: int) -> int:
    """What a server makes of a timeout: it grants the nearest that it allows. The session is ended again."""
    trouble: Exception | None = None
    for address in place.hosts:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                visit = await pay(place, address, asked_ms, 0, wire.NOBODY)
                try:
                    await visit.ask(wire.Request(wire.CLOSE))
                finally:
                    visit.close()
                return visit.attached.timeout_ms
        except (EngineUnavailable, SessionGone, TimeoutError) as error:
            trouble = error
    raise EngineUnavailable(f"no server with a quorum behind it answers: {trouble}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
