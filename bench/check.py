"""What a leader's questions cost: `term.is_valid`, `term.check()`, `term.remaining()`, beside the bare clock and a lock.

No I/O and no system call beyond the clock's: the deadline is one attribute, moved by each renewal. The rivals of the same run
are the clock alone, which is the least that any such answer can cost, and what most libraries do instead: a flag that
somebody else sets (free, and wrong after a stop past the TTL), guarded by a lock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from timeit import repeat
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.report import parser, show  # noqa: E402  - the path comes first

from incumbent.engines.api import Claimed, Member  # noqa: E402
from incumbent.leadership.body import Body  # noqa: E402
from incumbent.leadership.tenure import Lease, Tenure  # noqa: E402
from incumbent.leadership.term import Seat, Term  # noqa: E402
from incumbent.runtime.clock import BoottimeClock  # noqa: E402

BUDGET_NS = 250.0
CALLS = 100_000


async def led() -> Term:
    """A term of an hour."""
    clock = BoottimeClock()
    now_ns = clock.now_ns()
    tenure = Tenure(Lease(ttl_ns=3600 * 10**9, lag_ns=0, sent_ns=now_ns, rng=Random(1)))
    tenure.joined()
    tenure.elected(now_ns, now_ns)
    seat = Seat(tenure, clock, lambda: None)
    task = asyncio.current_task()
    assert task is not None
    body = Body(asyncio.get_running_loop(), task)
    return Term(seat, body, election="e", candidate="a", claimed=Claimed(Member("e", "a", 1), 1))


class Flag:
    """What is asked elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leads = True

    def is_leader(self) -> bool:
        with self._lock:
            return self._leads


def case(name: str, call: str, names: dict[str, Any], rounds: int, **more: Any) -> dict[str, Any]:
    """Nanoseconds of one call; the loop around it is counted too. Each sample is the mean of many calls."""
    samples = sorted(
        seconds / CALLS * 1e9 for seconds in repeat(call, globals=names, number=CALLS, repeat=rounds)
    )
    middle = samples[len(samples) // 2]
    return {"name": name, "n": rounds, "p50_ns": round(middle, 1), "max_ns": round(samples[-1], 1), **more}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("-n", type=int, default=15, help=f"samples of {CALLS} calls each (default 15)")
    options = arguments.parse_args()
    clock: Callable[[], int] = BoottimeClock().now_ns
    names = {"term": asyncio.run(led()), "flag": Flag(), "clock": clock, "monotonic": time.monotonic}
    bare = case("the clock alone", "clock()", names, options.n)
    asked = [
        case("term.is_valid", "term.is_valid", names, options.n, budget_ns=BUDGET_NS),
        case("term.check()", "term.check()", names, options.n),
        case("term.remaining()", "term.remaining()", names, options.n),
        case("time.monotonic()", "monotonic()", names, options.n),
        case("a flag under a lock", "flag.is_leader()", names, options.n),
    ]
    for one in asked:
        one["times_the_clock"] = round(one["p50_ns"] / bare["p50_ns"], 2)
    if options.json:
        show("check", [*asked, bare], as_json=True)
        return
    for one in (*asked, bare):
        print(
            f"{one['name']:20} {one['p50_ns']:8.1f} ns {one.get('times_the_clock', 1.0):6.2f} times the clock"
        )


if __name__ == "__main__":
    main()
