"""Many seeds, in several processes, and what they add up to. Memory does not grow with the number of seeds."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final

from incumbent.consensus.raft.notes import Code
from incumbent.sim.course import Course
from incumbent.sim.plans import PLANS, STRIKES, WEATHER
from incumbent.sim.run import Report, run

BATCH: Final = 20
"""Seeds that a process runs before it reports."""
VIOLATIONS_MAX: Final = 50
"""Kept with their words; all are counted."""
NEVER: Final = frozenset({Code.FOLLOWER_LOST_ENTRIES, Code.SNAPSHOT_REFUSED})
"""Notes that no honest disk and no node of ours gives rise to; stories tell them."""


@dataclass(slots=True)
class Violation:
    course: Course
    what: str


@dataclass(slots=True)
class Summary:
    """Of any number of runs."""

    seeds: int = 0
    events: int = 0
    busy_s: float = 0.0  # of all processes together, on one core each
    broken: int = 0
    violations: list[Violation] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    failovers_ms: Counter[int] = field(default_factory=Counter)  # how often each took so long

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.events += report.events
        for name in (
            "simulated_ms",
            "committed",
            "acknowledged",
            "reads",
            "retried",
            "leaderships",
            "leaders",
            "changes",
            "judged",
        ):
            self.totals[name] += getattr(report, name)
        self.faults.update(report.faults)
        self.notes.update(report.notes)
        self.failovers_ms.update(report.failovers_ms)

    def fail(self, course: Course, error: Exception) -> None:
        self.seeds += 1
        self.broken += 1
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(course, f"{type(error).__name__}: {error}"))

    def merge(self, other: Summary) -> None:
        self.seeds += other.seeds
        self.events += other.events
        self.busy_s += other.busy_s
        self.broken += other.broken
        self.violations = (self.violations + other.violations)[:VIOLATIONS_MAX]
        self.totals.update(other.totals)
        self.faults.update(other.faults)
        self.notes.update(other.notes)
        self.failovers_ms.update(other.failovers_ms)

    @property
    def events_per_second(self) -> float:
        """On one core."""
        return self.events / self.busy_s if self.busy_s else 0.0

    def failover_ms(self, share: float) -> int | None:
        """The failover time that this share of all stayed within; None when there was none."""
        left = math.ceil(share * sum(self.failovers_ms.values()))
        for ms in sorted(self.failovers_ms):
            left -= self.failovers_ms[ms]
            if left <= 0:
                return ms
        return None

    def never(self, plan: str) -> list[str]:
        """Faults of the plan, and notes, that never occurred: what these runs say nothing about."""
        faults = [kind for kind in PLANS[plan] if not self.faults[kind]]
        notes = [code.value for code in Code if code not in NEVER and not self.notes[code.value]]
        events = [name for name in ("changes", "leaderships", "retried", "judged") if not self.totals[name]]
        return faults + notes + events

    def as_json(self, plan: str) -> Mapping[str, Any]:
        return {
            "seeds": self.seeds,
            "events": self.events,
            "events_per_second": round(self.events_per_second),
            "violations": self.broken,
            "violation_list": [{"replay": v.course.command(), "what": v.what} for v in self.violations],
            "failover_ms": {
                "count": sum(self.failovers_ms.values()),
                "p50": self.failover_ms(0.5),
                "p99": self.failover_ms(0.99),
                "max": self.failover_ms(1.0),
            },
            **dict(sorted(self.totals.items())),
            "faults": {kind: self.faults[kind] for kind in (*STRIKES, *WEATHER) if kind in PLANS[plan]},
            "notes": {code.value: self.notes[code.value] for code in Code},
            "never": self.never(plan),
        }


def survey(courses: Iterable[Course], *, jobs: int, fail_fast: bool = False) -> Summary:
    """Run all courses and add them up; with `fail_fast`, until one breaks."""
    whole = Summary()
    batches = _batches(iter(courses))
    if jobs == 1:
        for batch in batches:
            whole.merge(run_batch(batch, fail_fast=fail_fast))
            if fail_fast and whole.broken:
                break
        return whole
    with ProcessPoolExecutor(jobs) as pool:
        # A few batches ahead: the courses may be endless, and what waits has to stay bounded.
        waiting = [pool.submit(run_batch, batch, fail_fast=fail_fast) for batch in islice(batches, 2 * jobs)]
        while waiting:
            whole.merge(waiting.pop(0).result())
            if not (fail_fast and whole.broken):
                waiting += [pool.submit(run_batch, b, fail_fast=fail_fast) for b in islice(batches, 1)]
    return whole


def _batches(courses: Iterator[Course]) -> Iterator[list[Course]]:
    while batch := list(islice(courses, BATCH)):
        yield batch


def run_batch(courses: Iterable[Course], *, fail_fast: bool = False) -> Summary:
    """Run these one after another. Whatever a run raises is what it found."""
    summary = Summary()
    start = time.process_time()
    for course in courses:
        try:
            summary.add(run(course))
        except Exception as error:
            summary.fail(course, error)
            if fail_fast:
                break
    summary.busy_s = time.process_time() - start
    return summary


def from_json(data: Mapping[str, Any]) -> Summary:
    """A summary that `to_json` wrote."""
    return Summary(
        seeds=data["seeds"],
        events=data["events"],
        busy_s=data["busy_s"],
        broken=data["broken"],
        violations=[
            Violation(Course(**{**v["course"], "skipped": tuple(v["course"]["skipped"])}), v["what"])
            for v in data["violations"]
        ],
        totals=Counter(data["totals"]),
        faults=Counter(data["faults"]),
        notes=Counter(data["notes"]),
        failovers_ms=Counter({int(ms): count for ms, count in data["failovers_ms"].items()}),
    )


def to_json(summary: Summary) -> Mapping[str, Any]:
    """Everything of it, to be added to others later."""
    return {
        "seeds": summary.seeds,
        "events": summary.events,
        "busy_s": summary.busy_s,
        "broken": summary.broken,
        "violations": [{"course": asdict(v.course), "what": v.what} for v in summary.violations],
        "totals": dict(summary.totals),
        "faults": dict(summary.faults),
        "notes": dict(summary.notes),
        "failovers_ms": {str(ms): count for ms, count in summary.failovers_ms.items()},
    }
