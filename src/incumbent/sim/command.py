"""``incumbent simulate``, which is also ``python -m incumbent.sim``: run seeds, print what they add up to, replay and shrink
what fails."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Final

from incumbent.sim.course import EVENTS_DEFAULT, Course
from incumbent.sim.options import add_arguments
from incumbent.sim.run import run
from incumbent.sim.shrink import shrink
from incumbent.sim.survey import Summary, survey

SMALL_CLUSTER: Final = 7
EVENTS_PER_VOTER: Final = 1_500
"""In clusters larger than that."""
TRACE_LINES_SHOWN: Final = 80


def simulate(options: argparse.Namespace) -> int:
    """Exit code: 0 when every seed is clean, 1 when a predicate broke, 3 when `--cover` found something missing."""
    events = options.events or (
        EVENTS_DEFAULT if options.nodes <= SMALL_CLUSTER else EVENTS_PER_VOTER * options.nodes
    )

    def courses() -> Iterator[Course]:
        for seed in range(options.seed, options.seed + options.seeds):
            yield Course(
                seed=seed,
                nodes=options.nodes,
                events=events,
                plan=options.faults,
                topology=options.topology,
                skipped=options.skip,
                gear=options.gear,
            )

    if options.trace:
        return _replay(next(courses()))
    summary = survey(courses(), jobs=options.jobs, fail_fast=options.fail_fast)
    if options.json:
        sys.stdout.write(json.dumps(summary.as_json(options.faults), indent=2) + "\n")
    else:
        sys.stdout.write(_for_people(summary, options.faults))
    if summary.violations and not options.no_shrink:
        smaller = shrink(summary.violations[0].course)
        sys.stderr.write(f"shortest found: {smaller.command()} --trace\n")
    if summary.broken:
        return 1
    return 3 if options.cover and summary.never(options.faults) else 0


def _replay(course: Course) -> int:
    try:
        report = run(course, trace=True)
    except Exception as error:
        trace, *rest = getattr(error, "__notes__", [""])
        lines = trace.splitlines()[-TRACE_LINES_SHOWN:]
        sys.stdout.write("\n".join([*lines, *rest, f"{type(error).__name__}: {error}"]) + "\n")
        return 1
    sys.stdout.write(f"{report}\n")
    return 0


def _for_people(summary: Summary, plan: str) -> str:
    found = summary.as_json(plan)
    failover = found["failover_ms"]
    lines = [f"{v.what}\n  replay: {v.course.command()}" for v in summary.violations]
    speed = found["events_per_second"]
    lines.append(
        f"{summary.seeds} seeds, {summary.events} events ({speed} a second on one core), {summary.broken} violations"
    )
    lines.append(", ".join(f"{count} {name}" for name, count in sorted(summary.totals.items())))
    lines.append(
        f"failover, simulated ms: p50 {failover['p50']}, p99 {failover['p99']}, max {failover['max']} "
        f"of {failover['count']}"
    )
    lines += [
        f"{what}: " + ", ".join(f"{count} {name}" for name, count in found[what].items())
        for what in ("faults", "notes")
    ]
    lines.append("never: " + (", ".join(found["never"]) or "nothing"))
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim", description=__doc__)
    add_arguments(parser)
    return simulate(parser.parse_args(arguments))
