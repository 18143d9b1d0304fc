"""How long an election on a ZooKeeper of three servers has no leader after its holder was killed.

Real candidates in processes of their own, a TTL of 5 s; a gap is from right before the signal to the moment at which another's term
begins. ``--rival kazoo`` measures kazoo's Election on the same servers with the same timeout.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, show
from tests.engines.zookeeper_candidates import ROOT, candidates
from tests.servers.zookeeper import zookeeper

from incumbent.check.history import Kind

TTL_S: Final = 5.0
SETTLE_S: Final = 1.5
RIVAL: Final = """
import signal, sys, time
from kazoo.client import KazooClient
client = KazooClient(sys.argv[1], timeout=float(sys.argv[2]))
client.start()
def lead():
    print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
    signal.pause()
print("ready", flush=True)
client.Election("/kazoo/e", "x").run(lead)
"""


def now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def ours(directory: Path, hosts: str, trials: int) -> list[dict[str, Any]]:
    gaps_ms = list[float]()
    with candidates(directory, f"zookeeper://{hosts}/ours", TTL_S) as running:
        running.start("0")
        for trial in range(trials):
            holder = running.leader()
            running.start(str(trial + 1))
            time.sleep(SETTLE_S)
            killed_s = now_s()
            running.signal(holder.candidate, signal.SIGKILL)
            running.leader(not_token=holder.token)
            began = next(e for e in running.events() if e.kind is Kind.ELECTED and e.time_ns > killed_s * 1e9)
            gaps_ms.append(began.time_ns / 1e6 - killed_s * 1e3)
        running.judged()
    return [case("incumbent holder killed", gaps_ms)]


def kazoo(hosts: str, trials: int) -> list[dict[str, Any]]:
    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", RIVAL, hosts, str(TTL_S)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        heard(process)
        return process

    def heard(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    gaps_ms = list[float]()
    holder = start()
    heard(holder)
    for _ in range(trials):
        heir = start()
        time.sleep(SETTLE_S)
        killed_s = now_s()
        holder.kill()
        gaps_ms.append((float(heard(heir)) - killed_s) * 1e3)
        holder.wait()
        holder = heir
    holder.kill()
    holder.wait()
    return [case("kazoo holder killed", gaps_ms)]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=10, help="samples for each case (10)")
    arguments.add_argument("--rival", choices=["kazoo"], help="measure it too")
    options = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory,
        zookeeper(Path(directory), 3) as server,
    ):
        rows = ours(Path(directory), server.hosts, options.trials)
        if options.rival is not None:
            rows += kazoo(server.hosts, options.trials)
    show("failover_zookeeper", rows, as_json=options.json)


if __name__ == "__main__":
    main()
