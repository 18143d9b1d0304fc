"""What `incumbent serve` is told: the same in a file, in the environment and by flags; the nearest prevails."""

from __future__ import annotations

from pathlib import Path

import pytest

from incumbent.cli.settings import settings
from incumbent.errors import InvalidInput
from incumbent.node.node import Limits
from incumbent.runtime.config import check_config

NODE = {"node": "a", "data_dir": "d", "listen": "127.0.0.1:7400"}


def test_limits_of_the_log_and_of_the_history_have_names(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        "snapshot_entries = 10\nsnapshot_bytes = 20\nlog_tail_entries = 30\nhistory_changes = 40\n"
    )
    environment = {"INCUMBENT_HISTORY_BYTES": "50", "INCUMBENT_SNAPSHOT_BYTES": "21"}
    limits = settings(str(file), environment, {**NODE, "snapshot_entries": "11"}).voter.limits
    assert (limits.snapshot_entries, limits.snapshot_bytes) == (11, 21)
    assert limits.replica.compaction_tail == 30
    assert (limits.history_changes, limits.history_bytes) == (40, 50)


def test_election_timeouts_may_follow_round_trips() -> None:
    timing = settings(None, {}, {**NODE, "election_ms": "200", "election_ms_max": "900"}).voter.timing
    assert (timing.election_timeout_min_ns, timing.adaptive_max_ns) == (200_000_000, 900_000_000)
    assert settings(None, {}, NODE).voter.timing.adaptive_max_ns == 0


def test_an_adaptive_timeout_that_could_not_adapt_is_refused() -> None:
    with pytest.raises(InvalidInput, match="election_ms_max"):
        check_config(settings(None, {}, {**NODE, "election_ms_max": "300"}).voter)


def test_what_is_not_said_is_as_by_default() -> None:
    assert settings(None, {}, NODE).voter.limits == Limits()


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", str(1 << 50)])
def test_a_limit_that_is_none_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(InvalidInput, match="history_bytes"):
        settings(None, {}, {**NODE, "history_bytes": value})
