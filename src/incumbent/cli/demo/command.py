"""`incumbent demo`, from its options to its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from incumbent.cli.demo.nodes import DemoFailed
from incumbent.cli.demo.run import Report, run_demo
from incumbent.cli.demo.view import Lines, Silent
from incumbent.errors import InvalidInput
from incumbent.runtime.clock import BoottimeClock


def demo(*, rounds: int, seed: int | None, as_json: bool, keep: str | None) -> int:
    """Run the demo and print its report. 0 only when the verdict is clean, 1 when it is not or there is none.

    Raises InvalidInput before anything is started.
    """
    directory = None if keep is None else _new_directory(Path(keep).absolute())
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    view = Silent() if as_json else Lines()
    if not as_json and not BoottimeClock.counts_suspend:
        print(BoottimeClock().describe())
    try:
        report = asyncio.run(run_demo(rounds=rounds, seed=seed, keep=directory, view=view))
    except DemoFailed as error:
        print(f"incumbent: the demo failed: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report.as_json(), indent=1) if as_json else _summary(report))
    return 0 if report.clean else 1


def _new_directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise InvalidInput("--keep", f"{path} is not empty", "name a new directory")
    except OSError as error:
        raise InvalidInput("--keep", f"{path}: {error.strerror}", "name a new directory") from error
    return path


def _summary(report: Report) -> str:
    judgement = report.judgement
    counts = (
        f"seed {report.seed}: {len(report.failovers)} failovers, {len(report.tokens)} leaderships, "
        f"{judgement.accepted} writes accepted, {judgement.refused} late writes refused, {judgement.overlaps} overlaps"
    )
    lines = [
        counts,
        *(f"  {finding.fault}: {finding.explanation}" for finding in judgement.findings),
        *(f"  missing: {gap}" for gap in judgement.gaps),
        f"verdict: {judgement.verdict}" + ("" if report.clean else " (not clean)"),
    ]
    if report.kept is not None:
        lines.append(f"histories and logs are in {report.kept}")
    return "\n".join(lines)
