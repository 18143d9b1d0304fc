"""Elections on every engine, beside the recipe that is at hand there, on the same servers in the same run.

Contenders in processes of their own. *resign*: from right before the call to the moment at which the one that waits leads. *killed*:
from right before SIGKILL of the holder to that moment, at equal TTLs; ours with a guardian and without. *turns*: acquire and
let go, again and again, alone. Servers run as they come: three for the own cluster, etcd and ZooKeeper; one PostgreSQL with durable
commits, one Redis with every write on disk; for Kubernetes the fake of incumbent.testing.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, show
from tests.servers.every import EVERY

ROOT: Final = Path(__file__).parents[1]
TTL_S: Final = 3.0
PHASE_S_MAX: Final = 1.0
"""Waited in addition, at random, so that a recipe that looks from time to time is met at any point of its pause."""
SETTLE_S: Final = 0.3
"""Until who was told to acquire stands and waits."""
GUARDED_S: Final = 1.0
"""Until a guardian is ready, and the holder has renewed."""
TURNS_S: Final = 3.0
WARM_TRIALS: Final = 2
"""Not counted."""
ALONE, GUARDED = "alone", "guarded"
RIVALS: Final = {
    "local": (),
    "cluster": (),
    "etcd": ("etcd recipe",),
    "zookeeper": ("kazoo Election",),
    "postgresql": ("lease row", "advisory lock"),
    "redis": ("redis-py Lock",),
    "kubernetes": ("client-go's rules",),
}
"""By engine; the first is what ours is compared with."""


class Contender:
    """A process that is told what to do. You owe a `kill`."""

    def __init__(self, recipe: str, url: str, election: str) -> None:
        words = [recipe, url, str(TTL_S), election]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.rivals.contenders", *words],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said()

    def tell(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def said(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def ask(self, what: str) -> float:
        self.tell(what)
        return self.said()

    def kill(self) -> None:
        self._process.kill()
        with self._process:
            pass


@contextmanager
def two(recipe: str, url: str, election: str) -> Iterator[list[Contender]]:
    """The one in front leads."""
    contenders = list[Contender]()
    try:
        contenders += [Contender(recipe, url, election)]
        contenders += [Contender(recipe, url, election)]
        contenders[0].ask("acquire")
        yield contenders
    finally:
        for each in contenders:
            each.kill()


def resigned_ms(recipe: str, url: str, trials: int) -> list[float]:
    samples = list[float]()
    with two(recipe, url, "resign") as contenders:
        for _ in range(trials + WARM_TRIALS):
            holder, heir = contenders
            heir.tell("acquire")
            time.sleep(SETTLE_S + random.uniform(0, PHASE_S_MAX))
            holder.tell("release")
            led_s = heir.said()
            samples.append(1e3 * (led_s - holder.said()))
            contenders.reverse()
    return samples[WARM_TRIALS:]


def killed_ms(recipe: str, url: str, trials: int) -> list[float]:
    samples = list[float]()
    election = "guarded" if recipe == GUARDED else "killed"
    with two(recipe, url, election) as contenders:
        for _ in range(trials):
            holder, heir = contenders
            heir.tell("acquire")
            time.sleep(GUARDED_S + random.uniform(0, PHASE_S_MAX))
            killed_s = time.clock_gettime(time.CLOCK_MONOTONIC)
            holder.kill()
            samples.append(1e3 * (heir.said() - killed_s))
            contenders[:] = [heir]
            contenders.append(Contender(recipe, url, election))
    return samples


def turns_ms(recipe: str, url: str) -> list[float]:
    """The mean time of one."""
    contender = Contender(recipe, url, "turns")
    try:
        contender.ask("turns 1")
        return [1e3 / contender.ask(f"turns {TURNS_S}")]
    finally:
        contender.kill()


def measure(engine: str, url: str, trials: int) -> list[dict[str, Any]]:
    rivals = RIVALS[engine]
    # Turns first: a server on a virtual machine has compiled by then what the one resignation in a second would wait for.
    samples = {("turns", recipe): turns_ms(recipe, url) for recipe in (ALONE, *rivals)}
    samples |= {("resign", recipe): resigned_ms(recipe, url, 4 * trials) for recipe in (ALONE, *rivals)}
    samples |= {("killed", recipe): killed_ms(recipe, url, trials) for recipe in (GUARDED, ALONE, *rivals)}
    if engine == "zookeeper":
        samples["turns", "one quorum write"] = turns_ms("one quorum write", url)
    rows = {key: case(f"{engine} {key[0]}: {key[1]}", took) for key, took in samples.items()}
    for (what, recipe), row in rows.items():
        if what == "turns":
            row["per_s"] = round(1e3 / row["p50_ms"], 1)
        if what == "killed":
            row["ttl_ms"] = 1e3 * TTL_S
        if rivals and recipe in (ALONE, GUARDED):
            row["ours_to_rival_p50"] = round(row["p50_ms"] / rows[what, rivals[0]]["p50_ms"], 3)
    return list(rows.values())


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--engine", action="append", choices=list(EVERY), help="only this one; may be repeated"
    )
    arguments.add_argument(
        "--trials", type=int, default=5, help="kills for each case; four times as many resignations (5)"
    )
    options = arguments.parse_args()
    rows = list[dict[str, Any]]()
    for engine in options.engine or EVERY:
        with (
            tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory,
            EVERY[engine](Path(directory)) as url,
        ):
            rows += measure(engine, url, options.trials)
    show("engines", rows, as_json=options.json)
    if not options.json:
        for row in rows:
            if "ours_to_rival_p50" in row:
                print(f"{row['name']}: {row['ours_to_rival_p50']} times the recipe")


if __name__ == "__main__":
    main()
