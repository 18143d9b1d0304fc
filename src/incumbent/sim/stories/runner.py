"""Tell a story anew and compare it with what stands there."""

from __future__ import annotations

from difflib import unified_diff

from incumbent.sim.stories.commands import perform
from incumbent.sim.stories.language import parse
from incumbent.sim.stories.stage import Stage


def retell(name: str, text: str) -> str:
    """The story's text with the trace as it is today.

    Raises InvalidInput, naming file and line, on a story that makes no sense, and InvariantViolated, with the command in a
    note, when a promise is broken: that is never written down as what is expected.
    """
    stage = Stage()
    return parse(name, text).told(lambda command: perform(stage, command))


def difference(name: str, text: str) -> str:
    """What differs between the expected trace and the one of today; empty when nothing does."""
    lines = unified_diff(
        text.splitlines(keepends=True),
        retell(name, text).splitlines(keepends=True),
        f"{name} (expected)",
        f"{name} (today)",
    )
    return "".join(lines)
