"""``incumbent doctor`` and ``incumbent engine``: examine an engine, and what an operator does to one that is not ours."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import Any, Final

from incumbent.cli.options import find_url
from incumbent.engines import registry
from incumbent.engines.api import Guarantees
from incumbent.engines.examination import Examination, Severity
from incumbent.engines.url import EngineUrl
from incumbent.errors import EngineUnavailable, Unsupported
from incumbent.leadership.doctor import Diagnosis, Measured, Proposal, Spread, diagnose

TIMEOUT_S: Final = 60.0
EXIT_FAULT: Final = 1


def doctor(arguments: argparse.Namespace) -> int:
    """Examine the engine. 0 = fit to lead on, 1 = a fault was found. Raises IncumbentError."""
    url = find_url(arguments.url)
    shown = str(EngineUrl.parse(url))
    diagnosis = asyncio.run(_diagnose(url))
    if arguments.json:
        print(json.dumps(_as_json(shown, diagnosis), indent=1))
    else:
        print(_summary(shown, diagnosis))
    return EXIT_FAULT if diagnosis.is_faulty else 0


def engine(arguments: argparse.Namespace) -> int:
    """Raise the incarnation, and print it. Raises IncumbentError."""
    url = find_url(arguments.url)
    shown = str(EngineUrl.parse(url))
    incarnation = asyncio.run(registry.bump(url))
    if arguments.json:
        print(json.dumps({"url": shown, "incarnation": incarnation}, indent=1))
    else:
        print(
            f"{shown}: the incarnation is {incarnation}; terms of before are over, and tokens rise from here"
        )
    return 0


async def _diagnose(url: str) -> Diagnosis:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await diagnose(lambda: registry.connect(url), await _examine(url))
    except TimeoutError as error:
        raise EngineUnavailable(f"the engine was not examined within {TIMEOUT_S:g} s") from error


async def _examine(url: str) -> Examination | None:
    try:
        return await registry.examine(url)
    except Unsupported:
        return None  # an engine without a doctor of its own is measured all the same


# --- printing ---------------------------------------------------------------------------------------------------------


def _as_json(url: str, diagnosis: Diagnosis) -> dict[str, Any]:
    examination = diagnosis.examination
    parts = {name: getattr(diagnosis, name) for name in ("guarantees", "measured", "proposal")}
    return {
        "url": url,
        "fit": not diagnosis.is_faulty,
        "server": None if examination is None else examination.server,
        "clock": None if examination is None else examination.clock,
        **{name: None if part is None else asdict(part) for name, part in parts.items()},
        "findings": [asdict(finding) for finding in diagnosis.findings],
    }


def _summary(url: str, diagnosis: Diagnosis) -> str:
    examination = diagnosis.examination
    lines = [("engine", url)]
    if examination is not None:
        lines += [("server", examination.server), ("clock", examination.clock)]
    if diagnosis.measured is not None:
        lines += _measured(diagnosis.measured)
    if diagnosis.proposal is not None and diagnosis.guarantees is not None:
        lines += _proposed(diagnosis.proposal, diagnosis.guarantees)
    marks = {Severity.FAULT: "FAULT", Severity.WARNING: "warning", Severity.INFO: "info"}
    lines += [(marks[finding.severity], f"{finding.code}: {finding.words}") for finding in diagnosis.findings]
    verdict = "not fit to lead on before that is mended" if diagnosis.is_faulty else "fit to lead on"
    return "\n".join([*(f"{name:<12}{words}" for name, words in lines), verdict])


def _measured(measured: Measured) -> list[tuple[str, str]]:
    return [
        ("round trip", _shown(measured.round_trip)),
        ("renewal", _shown(measured.renewal)),
        ("commit", _shown(measured.commit)),
        ("claim", _shown(measured.claim)),
    ]


def _proposed(proposal: Proposal, guarantees: Guarantees) -> list[tuple[str, str]]:
    believed = f"a leader believes in a renewal for {proposal.hold_s:.3f} s and renews every {proposal.renew_every_s:.2f} s"
    how = "by itself when a process dies" if guarantees.detects_process_death else "with a guardian"
    silent = f"{proposal.failover_silent_min_s:.2f} to {proposal.failover_silent_max_s:.2f} s after silence"
    return [
        (
            "TTL",
            f"{proposal.ttl_s:g} s proposed: {believed}; a call may take {proposal.call_timeout_s:.2f} s",
        ),
        ("failover", f"{silent}, {proposal.failover_proven_s:.2f} s {how}"),
        ("", f"{proposal.release_delay_s:g} s of it is the release delay, which fenced=True saves"),
    ]


def _shown(spread: Spread) -> str:
    return f"{spread.median_s * 1e3:.2f} ms, at most {spread.slowest_s * 1e3:.2f} ms ({spread.count} times)"
