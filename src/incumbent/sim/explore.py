"""``python -m incumbent.sim.explore``: every world that three voters can get into, breadth first, within a few bounds.

What moves is the real core. Time is left out: any voter that does not lead may campaign at any moment, and nobody is held
back because it heard a leader, so more can happen here than in any timing. What a Ready holds reaches the disk, then what rests
on it leaves, then the voter advances; a crash may come before each of these, and whatever else happens before them is counted
(`--overtakes`). Links keep their order and hold two messages; what does not fit is lost, and so is what can do nothing any
more. Worlds that differ only in the voters' names are one.

The predicates are looked at in every world; the first that breaks is printed with the shortest way to it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from incumbent.sim.explorer.search import Found, explore, follow
from incumbent.sim.explorer.world import Budget

STATES_DEFAULT = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    budget = Budget(**{field.name: getattr(options, field.name) for field in fields(Budget)})
    if options.way:
        sys.stdout.writelines(f"{line}\n" for line in follow(budget, options.way))
        return 0
    found = explore(budget, options.states, _tell_depth if options.depths else lambda _: None)
    sys.stdout.write(_told(found) + "\n")
    if found.violation is None:
        return 0
    sys.stdout.writelines(f"{line}\n" for line in follow(budget, found.way))
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim.explore", description=__doc__)
    for field in fields(Budget):
        parser.add_argument(
            f"--{field.name}",
            type=int,
            default=field.default,
            metavar="N",
            help=f"{'messages on a link' if field.name == 'link' else field.name}, at most ({field.default})",
        )
    parser.add_argument(
        "--states",
        type=int,
        default=STATES_DEFAULT,
        metavar="N",
        help=f"stop after so many ({STATES_DEFAULT:,})",
    )
    parser.add_argument("--depths", action="store_true", help="tell on stderr how it goes on")
    parser.add_argument("--way", type=_numbers, metavar="N,N,…", help="take this way only, and tell it")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _told(found: Found) -> str:
    parts = (
        f"{found.states} states, {found.transitions} transitions, depth {found.depth}, at most {found.frontier} at one depth, "
        f"{found.voters} different voters, {found.seconds:.0f} s, {found.states / max(found.seconds, 1e-3):.0f} states/s: "
    )
    if found.violation is not None:
        return f"{parts}broken; again with the same bounds and --way {','.join(map(str, found.way))}"
    return parts + ("to its end" if found.ended else f"stopped at {found.states}")


def _tell_depth(found: Found) -> None:
    sys.stderr.write(
        f"depth {found.depth}: {found.states} states, {found.voters} voters, {found.seconds:.0f} s\n"
    )
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
