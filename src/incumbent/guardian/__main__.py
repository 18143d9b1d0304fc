"""The helper process. Started by `supervisor.Guardian`; nobody else has a use for it."""

from __future__ import annotations

import signal
import sys

# First of all: its life ends with the guarded process's, never before, so what tells a whole group or service to end
# (a Ctrl-C, a terminal that closes, a service manager's SIGTERM) is not for it. The guarded process may yet die of it.
for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
    signal.signal(ignored, signal.SIG_IGN)


def main() -> int:
    import asyncio

    from incumbent.errors import ProtocolViolation
    from incumbent.guardian.watchman import guard

    try:
        return asyncio.run(guard(sys.stdin.fileno(), sys.stdout.fileno()))
    except ProtocolViolation as error:
        print(f"incumbent.guardian: {error}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
