"""What is known already, so that a run that was broken off goes on where it was: .cache/mutants.json.

A verdict is good for as long as nothing changes that it rests on: the source, the mutant, and what its killers read. Seeds
read nothing but the source, so a new test does not make them run again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

from tests.mutants.laboratory import ROOT
from tests.mutants.mutant import Killer, Mutant

RESULTS: Final = ROOT / ".cache" / "mutants.json"
KEPT_MAX: Final = 2_000
"""Rows; the oldest are forgotten."""
Row: TypeAlias = dict[str, str | int | float]


class Results:
    """Verdicts by what they rest on, and killers that are known to be quiet. Written after each new one."""

    def __init__(self, path: Path, tree: Path) -> None:
        self._path, self._tree, self._lock = path, tree, Lock()
        self._known: dict[str, Row] = json.loads(path.read_text()) if path.exists() else {}
        self._digests: dict[str, str] = {}

    def get(self, of: Mutant | Killer) -> Row | None:
        return self._known.get(self._key(of))

    def put(self, of: Mutant | Killer, row: Row) -> None:
        with self._lock:
            self._known[self._key(of)] = row
            kept = dict(list(self._known.items())[-KEPT_MAX:])
            self._path.parent.mkdir(exist_ok=True)
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(json.dumps(kept, indent=1))
            unfinished.replace(self._path)

    def _key(self, of: Mutant | Killer) -> str:
        killers = of.killers if isinstance(of, Mutant) else (of,)
        parts = sorted({"src", *(killer.reads for killer in killers)})
        rests_on = "".join(self._digest(part) for part in parts)
        return hashlib.sha256(f"{of!r} {rests_on}".encode()).hexdigest()

    def _digest(self, part: str) -> str:
        """Of everything below a directory of the tree."""
        if part not in self._digests:
            digest = hashlib.sha256()
            for path in sorted(p for p in (self._tree / part).rglob("*") if p.is_file()):
                digest.update(f"{path.relative_to(self._tree)}\0".encode() + path.read_bytes() + b"\0")
            self._digests[part] = digest.hexdigest()
        return self._digests[part]
