"""What a driver counts, for metrics. Counters only rise; nothing depends on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    refused: Counter[str] = field(default_factory=Counter)  # requests, by reason
    dropped: Counter[str] = field(default_factory=Counter)  # what did not fit, by kind
    renewals: int = 0  # asked of this voter
    commands: int = 0  # asked of this voter
    reads: int = 0  # asked of this voter
    writes: int = 0  # records made durable
    writes_ns: int = 0  # spent on them
    longest_write_ns: int = 0  # since `take_longest_write_ns`
    longest_silence_ns: int = 0  # of the leader, while it was one, since `take_longest_silence_ns`
    heard_ns: int | None = None  # when it last said anything; None = there is none, or it has not yet
    leaderless_ns: int = 0  # without a leader that this voter knew, up to the last change
    leaderless_since_ns: int | None = None  # None = it knows one

    def written(self, duration_ns: int) -> None:
        self.writes += 1
        self.writes_ns += duration_ns
        self.longest_write_ns = max(self.longest_write_ns, duration_ns)

    def take_longest_write_ns(self) -> int:
        """The longest since this was last asked."""
        longest, self.longest_write_ns = self.longest_write_ns, 0
        return longest

    def heard(self, now_ns: int) -> None:
        """The leader said something."""
        if self.heard_ns is not None:
            self.longest_silence_ns = max(self.longest_silence_ns, now_ns - self.heard_ns)
        self.heard_ns = now_ns

    def take_longest_silence_ns(self) -> int:
        """The longest since this was last asked."""
        longest, self.longest_silence_ns = self.longest_silence_ns, 0
        return longest

    def led(self, *, known: bool, now_ns: int) -> None:
        """From now on another leader is known, or none."""
        self.heard_ns = None
        if self.leaderless_since_ns is not None:
            self.leaderless_ns += now_ns - self.leaderless_since_ns
        self.leaderless_since_ns = None if known else now_ns

    def leaderless_ns_at(self, now_ns: int) -> int:
        """In all, up to now."""
        since_ns = self.leaderless_since_ns
        return self.leaderless_ns + (0 if since_ns is None else now_ns - since_ns)
