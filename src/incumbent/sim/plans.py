"""The kinds of faults, by name, and the plans that choose among them. What each does stands in chaos.py."""

from __future__ import annotations

from typing import Final

# Kinds that strike again and again, and kinds that are the weather of a whole run.
STRIKES: Final = (
    "crash", "crash_leader", "ambush", "disk_error", "bit_flip", "pause", "pause_leader", "isolate_leader", "split",
    "one_way", "pair", "false_hint", "slow_disk", "stalled_disk", "full_disk", "change", "transfer",
)  # fmt: skip
WEATHER: Final = (
    "loss",
    "duplication",
    "reordering",
    "staleness",
    "drift",
    "clock_jump",
    "old_frames",
    "snapshots",
)
PLANS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "crashes": ("crash", "crash_leader", "ambush", "false_hint", "snapshots"),
    "partitions": ("isolate_leader", "split", "one_way", "pair", "loss", "staleness", "false_hint"),
    "disks": ("ambush", "disk_error", "bit_flip", "slow_disk", "stalled_disk", "full_disk", "crash"),
    "clocks": ("drift", "clock_jump", "pause", "pause_leader", "staleness"),
    "changes": ("change", "transfer", "snapshots", "crash", "split", "old_frames"),
    "all": STRIKES + WEATHER,
}
