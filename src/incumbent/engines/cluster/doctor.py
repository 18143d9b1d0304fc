"""What `incumbent doctor` learns of a cluster of our own: who is there, who leads, and what one more failure would do."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S
from incumbent.engines.cluster import REMOTE_EXAMPLE, REMOTE_OPTIONS, parse_remote
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput
from incumbent.runtime.access import read_secret
from incumbent.runtime.operator import Operator
from incumbent.runtime.tls import Tls, TlsFiles

TIMEOUT_S: Final = 10.0
ELECTION_PATIENCE_S: Final = 3.0
PAUSE_S: Final = 0.1
BEHIND_ENTRIES: Final = 10_000
VOTERS_SAFE: Final = 3


async def examine(url: str) -> Examination:
    """From outside, by the addresses of members. Raises InvalidInput (a URL that embeds a voter too), EngineUnavailable."""
    parsed = EngineUrl.parse(url)
    if not parsed.hosts:
        raise InvalidInput(
            "url", "embeds a voter, which is not started for this", f"name the members: {REMOTE_EXAMPLE}"
        )
    parsed.allow_options(REMOTE_OPTIONS)
    seeds, cluster = parse_remote(url)
    files = TlsFiles.of(*(parsed.options.get(f"tls_{part}") for part in ("certificate", "key", "ca")))
    secret = parsed.options.get("secret_file")
    operator = Operator(
        cluster,
        seeds,
        asyncio.get_running_loop().time() + TIMEOUT_S,
        tls=None if files is None else Tls(files),
        secrets=() if secret is None else (read_secret(secret),),
    )
    everyone = await _settled(operator)
    up = {name: report for name, report in everyone.items() if isinstance(report, dict) and "role" in report}
    versions = sorted({str(report["version"]) for report in up.values()})
    return Examination(
        server=f"incumbent {' and '.join(versions) or '(none formed)'}, {len(up)} of {len(everyone)} nodes up",
        ttl_min_s=TTL_MIN_S,
        ttl_max_s=TTL_MAX_S,
        clock="CLOCK_BOOTTIME of the Raft leader; expiry is an entry of the log, so a step of a wall clock changes nothing",
        findings=tuple(findings(everyone)),
    )


async def _settled(operator: Operator) -> dict[str, dict[str, Any] | str]:
    """What each node tells; a cluster that is just electing is given the time for it."""
    loop = asyncio.get_running_loop()
    patience = loop.time() + ELECTION_PATIENCE_S
    while True:
        everyone = await operator.everyone()
        known = any(isinstance(report, dict) and report.get("leader") for report in everyone.values())
        if known or loop.time() > patience:
            return everyone
        await asyncio.sleep(PAUSE_S)


def findings(everyone: dict[str, dict[str, Any] | str]) -> list[Finding]:
    """What the reports of all nodes say together; a text in place of a report says why there is none."""
    found: list[Finding] = []
    up = {name: report for name, report in everyone.items() if isinstance(report, dict) and "role" in report}
    found += [
        Finding(
            Severity.WARNING,
            "node-unreachable",
            f"{name} does not answer: one more failure may stop elections",
        )
        for name in sorted(set(everyone) - set(up))
    ]
    leaders = {report["leader"] for report in up.values() if report["leader"]}
    if not leaders:
        found.append(
            Finding(Severity.FAULT, "no-raft-leader", "no node knows a Raft leader: there is no majority")
        )
    voters = sum(report["role"] == "voter" for report in up.values()) + len(everyone) - len(up)
    if voters < VOTERS_SAFE:
        words = f"{voters} voters survive no failure; run three or five"
        found.append(Finding(Severity.WARNING, "too-few-voters", words))
    versions = sorted({str(report["version"]) for report in up.values()})
    if len(versions) > 1:
        words = f"nodes run {', '.join(versions)}; finish the upgrade"
        found.append(Finding(Severity.WARNING, "versions-differ", words))
    most = max((int(report.get("commit", 0)) for report in up.values()), default=0)
    for name, report in sorted(up.items()):
        behind = most - int(report["applied"])
        if behind > BEHIND_ENTRIES:
            words = f"{name} is {behind} entries behind; it cannot take over at once"
            found.append(Finding(Severity.WARNING, "node-behind", words))
    return found
