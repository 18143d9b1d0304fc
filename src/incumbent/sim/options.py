"""The options of ``incumbent simulate``, apart from what they call: a command line that is not used should cost nothing."""

from __future__ import annotations

import argparse

from incumbent.sim.course import EVENTS_DEFAULT, NODES_DEFAULT, Gear
from incumbent.sim.network import Topology
from incumbent.sim.plans import PLANS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the first seed (0)")
    parser.add_argument("--seeds", type=_positive, default=1, metavar="N", help="how many seeds (1)")
    parser.add_argument("--nodes", type=_positive, default=NODES_DEFAULT, help=f"voters ({NODES_DEFAULT})")
    parser.add_argument(
        "--events",
        type=_positive,
        help=f"events of chaos in each seed ({EVENTS_DEFAULT}, more for large clusters)",
    )
    parser.add_argument(
        "--faults", choices=PLANS, default="all", metavar="PLAN", help=f"one of {', '.join(PLANS)} (all)"
    )
    parser.add_argument(
        "--topology",
        type=Topology,
        choices=tuple(Topology),
        default=Topology.LAN,
        help="where the voters are (lan)",
    )
    parser.add_argument(
        "--gear",
        type=Gear,
        choices=tuple(Gear),
        default=Gear.FAST,
        help="fast: pure nodes; whole: real drivers, engines and leadership code (fast)",
    )
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes (1)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--skip", type=_numbers, default=(), metavar="1,4", help="leave these faults out (of one seed)"
    )
    parser.add_argument("--trace", action="store_true", help="print everything that happens (in one seed)")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first violation")
    parser.add_argument(
        "--no-shrink", action="store_true", help="do not look for a shorter course that fails as well"
    )
    parser.add_argument(
        "--cover", action="store_true", help="fail if a kind of fault or a note never occurred"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))
