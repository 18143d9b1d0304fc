"""Who reads what: the lowest of all members, each heard over a live connection."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from incumbent.ids import NodeId
from incumbent.runtime import levels
from incumbent.runtime.formation import peer_hello
from incumbent.runtime.levels import level_of_all

ME, B, C = (NodeId(f"{name}.{disk * 12}") for name, disk in (("a", "1"), ("b", "2"), ("c", "3")))
OTHER_C = NodeId("c." + "9" * 12)


@dataclass(frozen=True)
class Case:
    heard: dict[NodeId, int]
    all_read: int


@pytest.mark.parametrize(
    "case",
    [
        Case({B: 3, C: 3}, 3),
        Case({B: 3, C: 2}, 2),
        Case({B: 9, C: 9}, 3),  # and this node itself
        Case({B: 3}, 1),  # who is down may come back as it was
        Case({B: 3, OTHER_C: 3}, 1),  # that is somebody else
        Case({}, 1),
    ],
)
def test_it_is_the_lowest_and_the_first_while_one_is_not_heard(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "LEVEL", 3)
    heard = {}
    for node, level in case.heard.items():
        name, disk = node.split(".")
        hello = peer_hello("app", name, disk, "abc", None)
        heard[name] = type(hello)(*[*(getattr(hello, f) for f in hello.__struct_fields__[:-1]), level])
    assert level_of_all(ME, [ME, B, C], heard) == case.all_read
