"""How many events a second the laboratory's fast gear lives through, with every predicate on, and what a seed costs.

Each sample is one seed of 5,000 events and its healing, on one core. Memory is looked at before the first and after the last.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.report import case, parser, percentile, show  # noqa: E402  - the path comes first

from incumbent.sim.course import Course  # noqa: E402
from incumbent.sim.run import run  # noqa: E402

TARGET_PER_S = 50_000


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(nodes: int, seeds: int) -> dict[str, object]:
    run(Course(seed=0, nodes=nodes))  # once for the bytecode
    samples, events = [], 0
    before_mib = peak_mib()
    for seed in range(1, seeds + 1):
        began = time.process_time()
        report = run(Course(seed=seed, nodes=nodes))
        samples.append((time.process_time() - began) * 1e3)
        events += report.events
    rate = events / (sum(samples) / 1e3)
    return case(
        f"{nodes} voters, {round(rate)} events/s",
        samples,
        events_per_second=round(rate),
        target_per_second=TARGET_PER_S,
        p50_events_per_second=round(events / seeds / (percentile(sorted(samples), 50) / 1e3)),
        memory_grown_mib=round(peak_mib() - before_mib, 1),
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("-n", type=int, default=200, help="seeds of each size (default 200)")
    options = arguments.parse_args()
    show("simulator", [measure(nodes, options.n) for nodes in (3, 5, 7)], as_json=options.json)


if __name__ == "__main__":
    main()
