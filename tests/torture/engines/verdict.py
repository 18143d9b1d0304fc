"""What a failure run showed: the judge's verdict on its history, with what the engine declares taken into account, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from incumbent.check.history import Event, Kind
from incumbent.check.leadership import Fault, Finding, Judgement, judge
from tests.torture.engines import faults


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it came: what, whom, when."""

    kind: faults.Kind
    victims: Sequence[str]
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Report:
    judgement: Judgement
    struck: Sequence[Struck]
    excused: Sequence[Finding]
    """Overlaps that the engine declares possible after such a fault."""
    faults: Sequence[Finding]
    """All other findings of the judge."""
    broken: Sequence[str]
    """What else should not have been: nobody led in the end, a process ended by itself."""
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not self.faults and not self.broken and not self.judgement.gaps

    @property
    def leaderless_ns(self) -> tuple[int, int]:
        """The longest time between two leaderships: from when to when."""
        longest, end_ns = (0, 0), None
        for leadership in self.judgement.leaderships:
            if end_ns is not None and leadership.start_ns - end_ns > longest[1] - longest[0]:
                longest = end_ns, leadership.start_ns
            end_ns = max(end_ns or 0, leadership.end_ns)
        return longest

    def as_json(self) -> dict[str, Any]:
        begin_ns, end_ns = self.leaderless_ns
        meanwhile = [str(one.kind) for one in self.struck if one.begin_ns < end_ns and one.end_ns > begin_ns]
        return {
            "faults": dict(sorted(Counter(str(one.kind) for one in self.struck).items())),
            "faults_total": len(self.struck),
            "terms": len(self.judgement.leaderships),
            "accepted": self.judgement.accepted,
            "refused": self.judgement.refused,
            "leaderless_s": round((end_ns - begin_ns) / 1e9, 2),
            "leaderless_during": meanwhile,
            "excused": [finding.explanation for finding in self.excused],
            "findings": [f"{finding.fault}: {finding.explanation}" for finding in self.faults],
            "gaps": list(self.judgement.gaps),
            "broken": list(self.broken),
            "notes": dict(self.notes),
            "clean": self.clean,
        }


def report(
    events: Sequence[Event],
    struck: Sequence[Struck],
    excuses: Mapping[faults.Kind, float],
    ttl_s: float,
    broken: Sequence[str] = (),
    notes: Mapping[str, int] | None = None,
) -> Report:
    """`events` in order of time. `excuses`: for how many TTLs after such a fault two may believe that they lead."""
    judgement = judge(events)
    windows = [
        (one.begin_ns, one.end_ns + int(excuses[one.kind] * ttl_s * 1e9))
        for one in struck
        if one.kind in excuses
    ]
    begun = {event.line: event.time_ns for event in events if event.kind is Kind.ELECTED}

    def is_excused(finding: Finding) -> bool:
        if finding.fault is not Fault.OVERLAP:
            return False
        second_ns = max(begun[line] for line in finding.lines)
        return any(begin_ns <= second_ns <= end_ns for begin_ns, end_ns in windows)

    excused = [finding for finding in judgement.findings if is_excused(finding)]
    others = [finding for finding in judgement.findings if finding not in excused]
    return Report(judgement, struck, excused, others, broken, notes or {})
