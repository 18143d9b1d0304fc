"""``python -m incumbent.sim --seed S``: run one seed, or several, and print what happened. The way to replay a failure."""

from __future__ import annotations

import argparse
import sys

from incumbent.errors import InvariantViolated
from incumbent.sim.run import NODES_DEFAULT, STEPS_DEFAULT, Report, run


def summary(report: Report) -> str:
    faults = ", ".join(f"{count} {name}" for name, count in report.faults.items()) or "none"
    return (
        f"seed {report.seed}: ok; {report.nodes} voters, {report.steps} steps, {report.simulated_ms} ms simulated, "
        f"term {report.highest_term}, {report.committed} committed, {report.acknowledged} acknowledged, "
        f"{report.reads} reads; faults: {faults}; trace {report.trace}\n"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when a predicate broke."""
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=_positive, default=1, help="how many seeds, one after another")
    parser.add_argument("--nodes", type=_positive, default=NODES_DEFAULT, help="voters")
    parser.add_argument(
        "--steps", type=_positive, default=STEPS_DEFAULT, help="events before everything is healed"
    )
    options = parser.parse_args(arguments)
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            report = run(seed, nodes=options.nodes, steps=options.steps)
        except InvariantViolated as violation:
            notes = "\n".join(getattr(violation, "__notes__", []))
            sys.stdout.write(f"{notes}\nseed {seed}: FAILED: {violation}\n")
            return 1
        sys.stdout.write(summary(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
