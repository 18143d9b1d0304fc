"""What `incumbent doctor` learns from an engine that only the engine can know.

Round trips and commits are measured from outside, over the Engine protocol. What server that is, which TTLs it can honour, how
its clock behaves, and whether its version or its settings are known to be unsafe, an engine's own module says:

    yourengine/doctor.py     async def examine(url: str) -> Examination
    yourengine/operator.py   async def bump(url: str) -> int      raises the incarnation, and returns the new one
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"  # worth knowing
    WARNING = "warning"  # something promised is weaker, or slower, than it could be
    FAULT = "fault"  # do not lead on this before it is mended


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    code: str  # stable, lower case with dashes: scripts go by it, and docs/reference/engines.md explains it
    words: str  # one sentence, with the fix where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Times are seconds. `ttl_step_s` is 0 where any TTL between the bounds is honoured exactly."""

    server: str  # name, version, how many members
    ttl_min_s: float
    ttl_max_s: float
    ttl_step_s: float = 0.0
    clock: str  # how the server's clock behaves, and what that means for a step of it
    findings: tuple[Finding, ...] = ()
