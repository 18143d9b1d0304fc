"""Is this engine fit to lead on, and with which TTL? Measured over the Engine protocol, from this process.

What is proposed follows from how this package renews (`tenure`): a renewal leaves at the latest at TTL/3 and its answer is waited
for at least TTL/12, so a TTL must be many times the slowest answer; and from what an engine waits after silence: the whole TTL
and the release delay, counted from the last renewal.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import CellWrite, Engine, Guarantees
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.errors import IncumbentError, InvalidInput
from incumbent.leadership.election import RELEASE_DELAY_S
from incumbent.leadership.tenure import FRESH_PARTS, HURRY_PARTS, NS_PER_S, hold_ns
from incumbent.runtime.clock import BoottimeClock

GROUP: Final = "incumbent-doctor"
"""Always the same, and so is its one cell, so that what runs leave behind does not add up."""
ROUNDS: Final = 20
SESSION_TTL_S: Final = 30.0
PROBED_TTLS_S: Final = (0.25, 1.0, 1.5, 2.5, 5.0, 10.0, 60.0)
SLOW_TIMES: Final = 2 * HURRY_PARTS
"""The TTL is so many times the slowest answer: the shortest wait for one, TTL/12, is then still twice that."""
LAG_TIMES: Final = 4
TTL_PROPOSED_S_MIN: Final = 1.0
"""Below that, a garbage collection, a busy host or a retransmission looks like a death."""
SLOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Of some measured times, in seconds."""

    median_s: float
    slowest_s: float
    count: int


@dataclass(frozen=True, slots=True)
class ProbedTtl:
    asked_s: float
    granted_s: float | None  # None: refused
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    round_trip: Spread  # a roster
    renewal: Spread
    commit: Spread  # a write of a small cell
    claim: Spread
    ttls: tuple[ProbedTtl, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Seconds. Failover is from the death of the leader's process to the next claim."""

    ttl_s: float
    hold_s: float  # how long a leader believes in a renewal: a little less than the TTL
    renew_every_s: float
    call_timeout_s: float  # for the engine's own `timeout`, where it has one
    release_delay_s: float  # of elections that are not opened with fenced=True
    failover_proven_s: float  # with a guardian, or where the engine sees the death itself
    failover_silent_min_s: float
    failover_silent_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    examination: Examination | None  # None: the engine has no doctor of its own
    findings: tuple[Finding, ...]  # of all of it, the worst first
    guarantees: Guarantees | None = None  # these three are None when it was not worth opening
    measured: Measured | None = None
    proposal: Proposal | None = None

    @property
    def is_faulty(self) -> bool:
        return _is_faulty(self.findings)


async def diagnose(
    open_engine: Callable[[], Awaitable[Engine]], examination: Examination | None
) -> Diagnosis:
    """Measure the engine that `open_engine` gives, and say what follows. One whose examination found a fault is not opened:
    it is known what is wrong. Closes it. Raises what the engine raises when it cannot be used at all."""
    findings = list(() if examination is None else examination.findings)
    if _is_faulty(findings):
        return Diagnosis(examination=examination, findings=_worst_first(findings))
    engine = await open_engine()
    try:
        measured = await measure(engine)
    finally:
        await engine.close()
    findings += findings_of(engine.guarantees, measured)
    return Diagnosis(
        examination=examination,
        findings=_worst_first(findings),
        guarantees=engine.guarantees,
        measured=measured,
        proposal=propose(measured, examination),
    )


def _is_faulty(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is Severity.FAULT for finding in findings)


def _worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    order = (Severity.FAULT, Severity.WARNING, Severity.INFO)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


async def measure(engine: Engine) -> Measured:
    """Opens a session, leads a group of its own, writes a small cell; ends the session. Raises what the engine raises."""
    session = await engine.open_session(await _some_ttl(engine), secrets.token_hex(16))
    try:
        member = await engine.join(session, GROUP, secrets.token_hex(16), b"")
        write = CellWrite("measured", b"x" * 64, None)
        return Measured(
            round_trip=await _timed(lambda: engine.roster(member.group)),
            renewal=await _timed(lambda: engine.renew(session)),
            commit=await _timed(lambda: engine.write_cells(GROUP, [write], None)),
            claim=await _timed(lambda: engine.claim(member)),
            ttls=tuple([await _probe(engine, ttl) for ttl in PROBED_TTLS_S]),
        )
    finally:
        with suppress(IncumbentError):
            await engine.end_session(session.ref)


async def _some_ttl(engine: Engine) -> float:
    """One that it grants."""
    for ttl in (SESSION_TTL_S, 10.0, 60.0, 5.0):
        if (await _probe(engine, ttl)).granted_s is not None:
            return ttl
    raise InvalidInput("url", "names an engine that grants no TTL of 5 to 60 s", "mend the server's settings")


async def _probe(engine: Engine, ttl: float) -> ProbedTtl:
    try:
        session = await engine.open_session(ttl, secrets.token_hex(16))
    except InvalidInput:
        return ProbedTtl(ttl, None)
    await engine.end_session(session.ref)
    return ProbedTtl(ttl, session.ttl, session.lag)


async def _timed(act: Callable[[], Awaitable[object]]) -> Spread:
    clock = BoottimeClock()
    times: list[float] = []
    for _ in range(ROUNDS):
        started_ns = clock.now_ns()
        await act()
        times.append((clock.now_ns() - started_ns) / NS_PER_S)
    times.sort()
    return Spread(times[len(times) // 2], times[-1], len(times))


def propose(measured: Measured, examination: Examination | None) -> Proposal:
    """The shortest TTL that this engine bears as it was measured, and what it means."""
    slowest_s = max(measured.renewal.slowest_s, measured.round_trip.slowest_s, measured.claim.slowest_s)
    lag_s = max((probe.lag_s for probe in measured.ttls if probe.granted_s is not None), default=0.0)
    ttl_s = max(SLOW_TIMES * slowest_s, LAG_TIMES * lag_s, TTL_PROPOSED_S_MIN)
    ttl_s = math.ceil(2 * ttl_s) / 2
    if examination is not None:
        ttl_s = max(ttl_s, examination.ttl_min_s)
        if examination.ttl_step_s > 0:
            ttl_s = math.ceil(ttl_s / examination.ttl_step_s - 1e-9) * examination.ttl_step_s
    take_over_s = measured.claim.median_s + measured.round_trip.median_s
    return Proposal(
        ttl_s=ttl_s,
        hold_s=hold_ns(round(ttl_s * NS_PER_S), round(lag_s * NS_PER_S)) / NS_PER_S,
        renew_every_s=ttl_s / FRESH_PARTS,
        call_timeout_s=ttl_s / FRESH_PARTS,
        release_delay_s=RELEASE_DELAY_S,
        failover_proven_s=RELEASE_DELAY_S + measured.commit.median_s + take_over_s,
        failover_silent_min_s=ttl_s - ttl_s / FRESH_PARTS + RELEASE_DELAY_S + take_over_s,
        failover_silent_max_s=ttl_s + RELEASE_DELAY_S + take_over_s,
    )


def findings_of(guarantees: Guarantees, measured: Measured) -> list[Finding]:
    """What every engine can be told of."""
    found: list[Finding] = []
    for probe in measured.ttls:
        if probe.granted_s not in (None, probe.asked_s):
            words = f"a TTL of {probe.asked_s} s was granted as {probe.granted_s} s: use one that is granted exactly"
            found.append(Finding(Severity.FAULT, "ttl-changed", words))
    refused = [f"{probe.asked_s:g}" for probe in measured.ttls if probe.granted_s is None]
    if refused:
        found.append(Finding(Severity.INFO, "ttl-refused", f"TTLs of {', '.join(refused)} s are refused"))
    slowest_s = max(measured.renewal.slowest_s, measured.commit.slowest_s)
    if slowest_s > SLOW_S:
        words = f"an answer took {slowest_s:.1f} s: leaders need TTLs of {SLOW_TIMES * slowest_s:.0f} s and more here"
        found.append(Finding(Severity.WARNING, "slow-answers", words))
    weak = (
        ("linearizable", "not-linearizable", "two may be first for a moment; only fencing tokens protect"),
        ("fenced", "not-fenced", "a token may come twice after a failover of the server; a sink cannot tell"),
        ("survives_partition", "splits", "both sides of a partition may elect"),
        (
            "survives_clock_step",
            "wall-clock",
            "a step of the server's wall clock may end or prolong sessions",
        ),
    )
    found += [
        Finding(Severity.WARNING, code, words) for name, code, words in weak if not getattr(guarantees, name)
    ]
    if not guarantees.survives_failover:
        words = "what it acknowledged does not survive the loss of its server"
        found.append(Finding(Severity.INFO, "no-failover", words))
    return found
