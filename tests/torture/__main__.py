"""``make torture``: failure runs of real processes. Prints a summary of each as JSON; exit status 1 when anything is wrong.

Without an engine it hurts three voters of our own cluster; with one, the servers that users run themselves, and the candidates on them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.servers.packages import NotAvailable
from tests.torture.chunks import in_chunks, replay
from tests.torture.engines.worlds import SETTINGS
from tests.torture.run import can_run, torture

CLUSTER: Final = "cluster"
ALL: Final = "all"
ENGINES: Final = (CLUSTER, *SETTINGS)


def of_the_cluster(seconds: float, seed: int) -> dict[str, Any]:
    again = replay(CLUSTER, seed, seconds)
    sys.stderr.write(f"{CLUSTER}, seed {seed}: {again}\n")
    with tempfile.TemporaryDirectory(prefix="incumbent-torture-") as directory:
        summary = asyncio.run(torture(Path(directory), seconds, seed))
        if not summary["clean"]:
            sys.stderr.write(f"not clean; again: {again}\n")
            for log in Path(directory).glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument(
        "--engine", choices=(*ENGINES, ALL), default=CLUSTER, help="whose servers (cluster), or all in turn"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, each (30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults (the time)")
    options = parser.parse_args()
    if (why := can_run()) is not None:
        sys.stderr.write(f"torture: {why}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers and namespaces go, too
    clean, seconds = True, 60 * options.minutes
    for engine in ENGINES if options.engine == ALL else (options.engine,):
        try:
            run = of_the_cluster if engine == CLUSTER else partial(in_chunks, engine)
            summary = run(seconds, options.seed)
        except NotAvailable as reason:
            sys.stderr.write(f"torture: {engine}: {reason}\n")
            return 2
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        clean = clean and summary["clean"]
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
