"""``python -m tests.promises [--rewrite]``: is docs/reference/promises.md what the tests say? Exit code 1 when not."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence

from tests.promises.evidence import Evidence, gather
from tests.promises.page import PAGE, render
from tests.promises.statements import PROMISES, Promise, Standing


def complaints(found: Mapping[int, Evidence], promises: Sequence[Promise] = PROMISES) -> list[str]:
    """Promises that claim more than there is, or less."""
    said: list[str] = []
    for promise in promises:
        evidence = found.get(promise.number, Evidence())
        match promise.standing:
            case Standing.HELD:
                if not evidence.tests:
                    said.append(f"{promise.name} is said to be held, and no test names it")
                if not evidence.faults:
                    said.append(f"{promise.name} is said to be held, and no planted fault names it")
            case Standing.IN_PART:
                if not evidence.tests or not promise.lacking:
                    said.append(f"{promise.name} is held in part: by which test, and what is lacking?")
            case Standing.NOT_YET:
                if evidence.tests or evidence.faults:
                    said.append(
                        f"{promise.name} is not claimed, and yet there are tests or faults that name it"
                    )
    said += [f"P{number} is no promise" for number in sorted(found.keys() - {p.number for p in promises})]
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("--rewrite", action="store_true", help="write the page anew")
    options = parser.parse_args(arguments)
    found = gather()
    page = render(found)
    if options.rewrite:
        PAGE.write_text(page)
    before = PAGE.read_text() if PAGE.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(before.splitlines(True), page.splitlines(True), "page", "tests")
    )
    said = complaints(found)
    sys.stdout.writelines(f"{line}\n" for line in said)
    return 1 if said or before != page else 0


if __name__ == "__main__":
    sys.exit(main())
