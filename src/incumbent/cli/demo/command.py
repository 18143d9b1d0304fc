"""`incumbent demo`, from its options to its exit code."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from incumbent.cli.demo.run import Report, run_demo
from incumbent.cli.demo.view import Lines, Silent
from incumbent.errors import InvalidInput
from incumbent.runtime.clock import BoottimeClock


def demo(*, rounds: int, seed: int | None, as_json: bool, keep: str | None) -> int:
    """Run the demo and print its report. 0 only when the verdict is clean."""
    directory = None if keep is None else Path(keep).absolute()
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise InvalidInput("--keep", f"{directory} is not empty", "name a new directory")
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    view = Silent() if as_json else Lines()
    if not as_json and not BoottimeClock.counts_suspend:
        print(BoottimeClock().describe())
    report = asyncio.run(run_demo(rounds=rounds, seed=seed, keep=directory, view=view))
    print(json.dumps(report.as_json(), indent=1) if as_json else _summary(report))
    return 0 if report.clean else 1


def _summary(report: Report) -> str:
    judgement = report.judgement
    counts = (
        f"seed {report.seed}: {len(report.failovers)} failovers, {len(report.tokens)} leaderships, "
        f"{judgement.accepted} writes accepted, {judgement.refused} late writes refused, {judgement.overlaps} overlaps"
    )
    lines = [
        counts,
        *(f"  {finding.fault}: {finding.explanation}" for finding in judgement.findings),
        f"verdict: {judgement.verdict}" + ("" if report.clean else " (not clean)"),
    ]
    if report.kept is not None:
        lines.append(f"histories and logs are in {report.kept}")
    return "\n".join(lines)
