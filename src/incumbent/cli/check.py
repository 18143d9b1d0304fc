"""`incumbent check`: judge a recorded history."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from incumbent.check import history
from incumbent.check.leadership import Judgement, Verdict, judge
from incumbent.errors import InvalidInput

EXIT: Final = {Verdict.OK: 0, Verdict.VIOLATED: 1, Verdict.UNKNOWN: 2}


def check(paths: Sequence[str], *, as_json: bool) -> int:
    """Judge the histories in these files as one. 0 ok, 1 violated, 2 unknown."""
    judgement = judge(history.parse(line for path in paths for line in _lines(path)))
    print(json.dumps(_as_json(judgement), indent=1) if as_json else _summary(judgement))
    return EXIT[judgement.verdict]


def _lines(path: str) -> Sequence[str]:
    if path == "-":
        return sys.stdin.read().splitlines()
    try:
        return Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "HISTORY", f"{path} cannot be read: {error}", "name a file of JSON lines"
        ) from error


def _as_json(judgement: Judgement) -> dict[str, object]:
    return {
        "verdict": judgement.verdict.value,
        "overlaps": judgement.overlaps,
        "tokens": {election: list(tokens) for election, tokens in judgement.tokens.items()},
        "leaderships": len(judgement.leaderships),
        "accepted_writes": judgement.accepted,
        "refused_writes": judgement.refused,
        "findings": [
            {
                "fault": f.fault.value,
                "election": f.election,
                "explanation": f.explanation,
                "lines": list(f.lines),
            }
            for f in judgement.findings
        ],
        "gaps": list(judgement.gaps),
    }


def _summary(judgement: Judgement) -> str:
    return "\n".join(
        [
            f"{len(judgement.leaderships)} leaderships, {judgement.accepted} writes accepted, {judgement.refused} refused",
            *(
                f"  {f.election}: {f.fault}: {f.explanation} (lines {', '.join(map(str, f.lines))})"
                for f in judgement.findings
            ),
            *(f"  missing: {gap}" for gap in judgement.gaps),
            f"verdict: {judgement.verdict}",
        ]
    )
