"""What a failure run wants of an engine's servers."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tests.torture.engines.faults import Verb


class World(Protocol):
    """One call at a time; each may block for as long as a server takes."""

    @property
    def members(self) -> Sequence[str]:
        """The servers' names."""

    def url(self, turn: int) -> str:
        """Where the candidate of that number finds them."""

    def leader(self) -> str | None: ...
    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None: ...
    def end(self, verb: Verb, members: Sequence[str]) -> None:
        """What `begin` did is over: they are there again."""

    @property
    def processes(self) -> Mapping[str, subprocess.Popen[Any]]:
        """Of the members that should run now."""

    def start(self, member: str) -> None:
        """One that ended by itself, with its data."""

    def wait(self) -> None:
        """Until they serve. Raises TimeoutError."""
