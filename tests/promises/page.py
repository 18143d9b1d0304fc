"""The page that says how each promise stands: docs/reference/promises.md."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from tests.promises.evidence import LED_ON, ROOT, Evidence, Proof
from tests.promises.statements import AREAS, ELSEWHERE, ENGINE_BY_ENGINE, PROMISES, Promise, Standing

PAGE: Final = ROOT / "docs" / "reference" / "promises.md"
HEAD: Final = """\
# Promises

What this project promises, numbered, and how each promise stands. *Held*: tests name it, and a fault that is planted on
purpose turns such a test red (`make mutants`, and for engines the broken ones of the conformance suite). *In part*: what
is lacking is said. *Not yet*: nothing of it is claimed.

This page is generated: `python -m tests.promises --rewrite`.
"""
ENGINES_TEXT: Final = """
*core*: the voters of a cluster, as pure code. *every engine*: what stands above the engine and treats all of them alike.
*fence*: the checker at the resource. *guardian*: the helper that proves a process dead. *demo*: real processes.
"""


def render(found: Mapping[int, Evidence]) -> str:
    held = sum(promise.standing is Standing.HELD for promise in PROMISES)
    part = sum(promise.standing is Standing.IN_PART for promise in PROMISES)
    lines = [HEAD, f"{held} of {len(PROMISES)} are held, {part} in part.", ENGINES_TEXT.rstrip()]
    for area, promises in AREAS:
        lines += [
            "",
            f"## {area}",
            "",
            "| | promise | stands | on | tests | planted faults |",
            "|-|-|-|-|-|-|",
        ]
        lines += [_row(promise, found.get(promise.number, Evidence())) for promise in promises]
    lines += ["", *_engine_by_engine(found), "", "## Which tests, which faults"]
    for promise in PROMISES:
        if promise.number in found:
            lines += ["", *_details(promise, found[promise.number])]
    return "\n".join(lines) + "\n"


def _engine_by_engine(found: Mapping[int, Evidence]) -> Iterator[str]:
    yield "## Leadership, engine by engine"
    yield ""
    yield "How many tests there are on each engine, and how many above all of them."
    yield ""
    yield f"| | {' | '.join(LED_ON)} | above every engine |"
    yield "|-|" + "-|" * (len(LED_ON) + 1)
    for number in ENGINE_BY_ENGINE:
        on = found.get(number, Evidence()).on
        cells = [str(on[engine] or ELSEWHERE.get(number, "")) for engine in LED_ON]
        yield f"| P{number} | {' | '.join(cells)} | {on['every engine'] or ''} |"


def _row(promise: Promise, evidence: Evidence) -> str:
    name = f"[{promise.name}](#{promise.name.lower()})" if evidence.tests or evidence.faults else promise.name
    stands = promise.standing.value + (f": {promise.lacking}" if promise.lacking else "")
    counts = [str(len(one)) if one else "" for one in (evidence.tests, evidence.faults)]
    return f"| {name} | {promise.words} | {stands} | {', '.join(sorted(evidence.engines))} | {counts[0]} | {counts[1]} |"


def _details(promise: Promise, evidence: Evidence) -> Iterator[str]:
    yield f"### {promise.name}"
    yield ""
    for file, tests in groupby(sorted(evidence.tests), key=lambda test: test.file):
        yield f"- [{file}]({posixpath.relpath(file, 'docs/reference')}): {_names(list(tests))}"
    if evidence.faults:
        yield f"- Planted: {'; '.join(evidence.faults)}"


def _names(tests: list[Proof]) -> str:
    return ", ".join(f"`{test.name}`" for test in tests)
