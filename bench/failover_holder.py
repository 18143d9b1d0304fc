"""How long until somebody acts again, when a process dies, falls silent or resigns.

Three real processes on loopback, each a voter and a candidate, as `incumbent demo` starts them. A case says who is hit and
whether one node led both the election and the Raft cluster. Where the leader of the election is hit, the time is from right
before the signal to the next leader's first write that the resource accepted; else to the next linearizable read.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, show

from incumbent.check import history
from incumbent.check.leadership import Verdict, judge
from incumbent.cli.demo.faults import Kind, inject
from incumbent.cli.demo.run import TTL_S, running
from incumbent.cli.demo.view import Silent


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    kind: Kind
    both_roles: bool


CASES = (
    Case("holder_killed", Kind.HOLDER_KILLED, both_roles=False),
    Case("raft_leader_killed", Kind.RAFT_LEADER_KILLED, both_roles=False),
    Case("holder_and_raft_leader_killed", Kind.HOLDER_KILLED, both_roles=True),
    Case("holder_stopped", Kind.HOLDER_STOPPED, both_roles=False),
    Case("raft_leader_stopped", Kind.RAFT_LEADER_STOPPED, both_roles=False),
    Case("holder_and_raft_leader_stopped", Kind.HOLDER_STOPPED, both_roles=True),
    Case("resigned", Kind.RESIGNED, both_roles=False),
)


async def measure(trials: int, directory: Path) -> list[dict[str, Any]]:
    """All cases in turn, trial by trial, so that a machine that slows down slows all of them."""
    samples: dict[str, list[float]] = {each.name: [] for each in CASES}
    async with running(directory, Silent()) as (nodes, board):
        for _ in range(trials):
            for each in CASES:
                failover = await inject(each.kind, nodes, board, both_roles=each.both_roles)
                samples[each.name].append(failover.ms)
    judgement = judge(history.parse(nodes.history()))
    if judgement.verdict is not Verdict.OK:
        raise SystemExit(f"the judge says {judgement.verdict}: {judgement.findings}")
    return [case(each.name, samples[each.name], ttl_ms=1000 * TTL_S) for each in CASES]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=10, help="samples for each case (default 10)")
    options = arguments.parse_args()
    if options.trials < 1:
        arguments.error("--trials: give 1 or more")
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        cases = asyncio.run(measure(options.trials, Path(directory)))
    show("failover_holder", cases, as_json=options.json)


if __name__ == "__main__":
    main()
