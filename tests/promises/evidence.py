"""What there is for each promise: tests, stories, conformance checks and planted faults that name it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from incumbent.engines.registry import BUILT_IN
from tests.engines.broken import FAULTS
from tests.engines.stranger import StrangerEngine
from tests.mutants.catalogue import MUTANTS

ROOT: Final = Path(__file__).parent.parent.parent
NAMED: Final = re.compile(r"\bP([1-9]\d?)\b")
RANGE: Final = re.compile(r"\bP([1-9]\d?) to P([1-9]\d?)\b")
CONFORMANCE: Final = ROOT / "src" / "incumbent" / "engines" / "conformance"
STORIES: Final = ROOT / "tests" / "stories"
ENGINES: Final[Mapping[str, tuple[str, ...]]] = {
    "local": ("tests/engines/test_conformance_local.py",),
    "cluster": (
        "tests/engines/test_cluster_conformance_memory.py",
        "tests/engines/test_cluster_conformance_voters.py",
    ),
    "etcd": ("tests/engines/test_etcd_conformance.py",),
    "zookeeper": ("tests/engines/test_zookeeper_conformance.py",),
    "postgresql": ("tests/engines/test_postgres_conformance.py",),
    "redis": ("tests/engines/test_redis_conformance.py",),
    "kubernetes": ("tests/engines/test_conformance_kubernetes.py",),
}
"""Where each engine runs the conformance checks."""
PLACES: Final[tuple[tuple[str, str], ...]] = (
    ("tests/engines/test_local_", "local"),
    ("tests/engines/test_cluster_", "cluster"),
    ("tests/engines/test_etcd_", "etcd"),
    ("tests/engines/test_zookeeper_", "zookeeper"),
    ("tests/engines/test_postgres_", "postgresql"),
    ("tests/engines/test_redis_", "redis"),
    ("tests/engines/test_kubernetes_", "kubernetes"),
    ("tests/engines/test_trips.py", "every engine"),
    ("tests/consensus/", "core"),
    ("tests/node/", "core"),
    ("tests/kv/", "core"),
    ("tests/sim/", "core"),
    ("tests/stories/", "core"),
    ("src/incumbent/sim/", "core"),
    ("tests/runtime/test_lifelock.py", "every engine"),
    ("tests/runtime/", "cluster"),
    ("tests/fencing/", "fence"),
    ("tests/recipes/", "every engine"),
    ("tests/leadership/", "every engine"),
    ("tests/server/", "every engine"),
    ("tests/guardian/", "guardian"),
    ("tests/cli/test_doctor.py", "every engine"),
    ("tests/cli/test_elections.py", "local"),
    ("tests/cli/", "demo"),
    ("tests/test_ids.py", "every engine"),
)
"""What the tests below a path are about."""
LED_ON: Final = ("local", "cluster")
"""The engines on which the stories of leadership are run."""
ON_EACH: Final[Mapping[str, tuple[str, ...]]] = {
    "tests/engines/leadership_stories.py": LED_ON,
    "tests/leadership/test_verbs_on_engines.py": LED_ON,
    "tests/engines/test_resuming.py": tuple(BUILT_IN),
    "tests/torture/engines/test_slices.py": ("etcd", "zookeeper", "postgresql", "redis", "kubernetes"),
}
"""Stories that are run on several engines, by the file that tells them."""


class Proof(NamedTuple):
    file: str  # from the root
    name: str


@dataclass(slots=True)
class Evidence:
    tests: list[Proof] = field(default_factory=list)
    engines: set[str] = field(default_factory=set)
    on: Counter[str] = field(default_factory=Counter)  # tests, by what they are about
    faults: list[str] = field(default_factory=list)  # by name


def gather() -> dict[int, Evidence]:
    """By the promise's number."""
    found: dict[int, Evidence] = {}
    for promise, test in (*_tests(), *_stories()):
        evidence = found.setdefault(promise, Evidence())
        evidence.tests.append(test)
        places = ON_EACH.get(test.file) or (_place(test.file),)
        evidence.engines.update(places)
        evidence.on.update(places)
    for promise, check in _checks():
        evidence = found.setdefault(promise, Evidence())
        evidence.tests.append(check)
        evidence.engines |= set(ENGINES)
        evidence.on.update(list(ENGINES))
        evidence.faults.append(f"an engine that breaks `{check.name}`: {_broken(check.name)}")
    for mutant in MUTANTS:
        for name in mutant.promises:
            found.setdefault(int(name[1:]), Evidence()).faults.append(mutant.name)
    return found


def _tests() -> Iterator[tuple[int, Proof]]:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        yield from named_in(path, ("test_", "check_"))


def _checks() -> Iterator[tuple[int, Proof]]:
    for path in sorted(CONFORMANCE.glob("*.py")):
        yield from named_in(path, ("check_",))


def named_in(path: Path, prefixes: tuple[str, ...]) -> Iterator[tuple[int, Proof]]:
    """Every promise that the docstring of a function with such a name names, and the function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(prefixes):
            for promise in numbers(ast.get_docstring(node) or ""):
                yield promise, Proof(str(path.relative_to(ROOT)), node.name)


def _stories() -> Iterator[tuple[int, Proof]]:
    for path in sorted(STORIES.rglob("*.story")):
        for promise in numbers(path.read_text()):
            yield promise, Proof(str(path.relative_to(ROOT)), path.stem)


def numbers(text: str) -> list[int]:
    """The promises that a text names ("P7", or "P51 to P59"), each once, in order."""
    found = {int(number) for number in NAMED.findall(text)}
    for first, last in RANGE.findall(text):
        found.update(range(int(first), int(last) + 1))
    return sorted(found)


def _broken(check: str) -> str:
    fault = FAULTS[check]
    return (fault.store if fault.engine is StrangerEngine else fault.engine).__name__


def _place(file: str) -> str:
    for prefix, place in PLACES:
        if file.startswith(prefix):
            return place
    raise ValueError(f"{file}: evidence.PLACES does not say what it is about")
