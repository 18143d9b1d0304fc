"""The engine for one host: no server, any processes on the machine share a directory.

    local:///var/lib/app?busy_timeout=5

SQLite keeps the state, a datagram wakes who waits, a pidfd tells that the holder's process died. Rows carry the boot in
which they were written: a session of another boot is over, since every process of that boot is dead.
"""

from __future__ import annotations

from pathlib import Path

from incumbent.engines.api import Engine
from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

OPTIONS = ("busy_timeout",)


async def connect(url: str) -> Engine:
    """Open the engine on the directory that `url` names; the directory is made (0700) when it is not there.

    Raises InvalidInput for a wrong URL, a network file system, or a directory or file that is not ours; Unsupported
    where the boot cannot be told; StorageCorrupt for a damaged file. Nothing is written before these are checked.
    """
    directory, busy_timeout_s = parse(url)
    from incumbent.engines.local.engine import LocalEngine

    return await LocalEngine.open(directory, busy_timeout_s=busy_timeout_s)


def parse(url: str) -> tuple[Path, float]:
    """The directory and the busy timeout in seconds. Raises InvalidInput(field="url")."""
    parsed = EngineUrl.parse(url)
    parsed.allow_options(OPTIONS)
    if parsed.hosts or parsed.user is not None:
        raise InvalidInput("url", "local:// takes no host", "write local:///absolute/directory")
    if not parsed.path.startswith("/") or not parsed.path.strip("/") or "\0" in parsed.path:
        raise InvalidInput("url", "names no directory", "write local:///absolute/directory")
    return Path(parsed.path), parsed.seconds("busy_timeout", 5.0)
