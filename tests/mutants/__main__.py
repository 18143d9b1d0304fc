"""``python -m tests.mutants``: plant every mutant, let the laboratory kill it, print the table. Exit code 1 when one lives.

What is known from a run that was broken off is not asked again; see results.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.laboratory import Fate, Verdict, copy_everything, false_alarm, try_to_kill
from tests.mutants.mutant import EXPLORER, FIVE, THREE, WHOLE, Killer, Mutant
from tests.mutants.results import RESULTS, Results


class Judge:
    """Knows one copy of everything, and what was found on it."""

    def __init__(self, scratch: Path, *, quiet: bool) -> None:
        self._scratch, self._quiet = scratch, quiet
        self._tree = copy_everything(scratch / "tree")
        self._results = Results(RESULTS, self._tree)

    def alarm(self, killer: Killer) -> str | None:
        """Why this killer proves nothing; None when it is quiet without a mutant."""
        if self._results.get(killer) is not None:
            return None
        why = false_alarm(killer, self._tree)
        if why is None:
            self._results.put(killer, {})
        self._tell(f"{'quiet without a mutant' if why is None else why}: {killer}")
        return why

    def verdict(self, mutant: Mutant) -> Verdict:
        row = self._results.get(mutant)
        if row is not None:
            return Verdict(**{**row, "fate": Fate(str(row["fate"]))})  # type: ignore[arg-type]
        verdict = try_to_kill(mutant, self._tree, self._scratch)
        if verdict.fate is not Fate.NOT_RUN:
            self._results.put(mutant, asdict(verdict))
        self._tell(f"{verdict.fate}: {verdict.mutant}: {verdict.by} ({verdict.seconds} s)")
        return verdict

    def _tell(self, line: str) -> None:
        if not self._quiet:
            sys.stderr.write(line + "\n")


def judge(mutants: Sequence[Mutant], *, jobs: int, quiet: bool) -> list[Verdict]:
    """Every mutant's verdict, in the catalogue's order."""
    with (
        tempfile.TemporaryDirectory(prefix="incumbent-mutants-") as directory,
        ThreadPoolExecutor(jobs) as pool,
    ):
        judge = Judge(Path(directory), quiet=quiet)
        killers = list(dict.fromkeys(killer for mutant in mutants for killer in mutant.killers))
        alarms = dict(zip(killers, pool.map(judge.alarm, killers), strict=True))

        def one(mutant: Mutant) -> Verdict:
            for killer in mutant.killers:
                why = alarms[killer]
                if why is not None:
                    return Verdict(mutant.name, mutant.file, Fate.NOT_RUN, why, 0, 0.0)
            return judge.verdict(mutant)

        return list(pool.map(one, mutants))


def table(verdicts: Sequence[Verdict]) -> str:
    rows = [("mutant", "file", "fate", "by", "seeds", "seconds")]
    rows += [
        (v.mutant, v.file, v.fate.value, v.by, str(v.seeds or "-"), f"{v.seconds:.1f}") for v in verdicts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    killed = sum(v.fate is Fate.KILLED for v in verdicts)
    budget = (
        f"at most {THREE.budget} seeds of {THREE.nodes} nodes and {FIVE.budget} of {FIVE.nodes}, {WHOLE.budget} of the "
        f"whole gear, {EXPLORER.states} states of the explorer"
    )
    return "\n".join([*lines, f"{killed} of {len(verdicts)} killed; each may cost {budget}"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="mutants whose name or file holds these words"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON instead of a table")
    options = parser.parse_args(arguments)
    mutants = [mutant for mutant in MUTANTS if options.only in mutant.name or options.only in mutant.file]
    if not mutants:
        parser.error(f"no mutant has {options.only!r} in its name or file")
    verdicts = judge(mutants, jobs=max(options.jobs, 1), quiet=options.json)
    sys.stdout.write(
        json.dumps([asdict(v) for v in verdicts], indent=1) + "\n" if options.json else table(verdicts)
    )
    return 0 if all(v.fate is Fate.KILLED for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
