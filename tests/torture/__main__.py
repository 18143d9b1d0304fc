"""``python -m tests.torture [--minutes 30] [--seed N]``: prints the summary as JSON; exit status 1 when anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.run import can_run, torture


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults (the time)")
    options = parser.parse_args()
    if (why := can_run()) is not None:
        sys.stderr.write(f"torture: {why}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="incumbent-torture-") as directory:
        summary = asyncio.run(torture(Path(directory), 60 * options.minutes, options.seed))
        if not summary["clean"]:
            for log in Path(directory).glob("*.log"):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}\n")
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return 0 if summary["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
