"""``incumbent doctor`` and ``incumbent engine``: examine an engine, and what an operator does to one that is not ours."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from incumbent.cli.settings import ENVIRONMENT_PREFIX
from incumbent.engines import registry
from incumbent.engines.api import Guarantees
from incumbent.engines.examination import Examination, Severity
from incumbent.engines.url import EngineUrl
from incumbent.errors import EngineUnavailable, InvalidInput, Unsupported
from incumbent.leadership.doctor import Diagnosis, Measured, Proposal, Spread, diagnose

URL_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}URL"
URL_HELP: Final = (
    f"the engine's URL; @FILE reads it from a file; {URL_VARIABLE} by default: "
    "a password on the command line is seen by every user of this host"
)
URL_BYTES_MAX: Final = 16 * 1024
TIMEOUT_S: Final = 60.0
EXIT_FAULT: Final = 1


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    _add_url(parser)
    _add_json(parser)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    text = "raise the incarnation after the engine's server was restored from a backup"
    verb = verbs.add_parser("bump", help=text, description=text)
    _add_url(verb)
    _add_json(verb)
    verb.set_defaults(verb="bump")


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


def find_url(given: str | None) -> str:
    """From the argument, from the file that it names, or from the environment. Raises InvalidInput; never shows it."""
    url = given or os.environ.get(URL_VARIABLE, "")
    if url.startswith("@"):
        try:
            with Path(url[1:]).open(encoding="utf-8") as file:
                url = file.read(URL_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                "URL", f"the file {url[1:]} cannot be read", "name a file that holds a URL"
            ) from error
    if not url:
        raise InvalidInput("URL", "is missing", f"give one, @FILE, or set {URL_VARIABLE}")
    return url


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


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", default=None, metavar="URL", help=URL_HELP)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


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
