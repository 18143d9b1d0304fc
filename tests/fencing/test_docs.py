"""What the pages on fencing say exists; what exists, they say."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "src/incumbent/fencing").glob("[a-z]*.py"))
REFERENCE = (ROOT / "docs/reference/fencing.md").read_text()
PAGES = [*sorted((ROOT / "docs/how-to").glob("fence-*.md")), ROOT / "docs/explanation/what-we-promise.md"]
INTERNAL = {"Lock", "Turn", "Held", "Seen", "Refusals", "Cursor", "Answer", "Door", "Required", "SqlFence"}
"""Parts of the fences; who uses a fence meets none of them by name."""


@pytest.mark.parametrize("module", MODULES)
def test_every_bound_and_every_class_is_documented(module: str) -> None:
    members = inspect.getmembers(import_module(f"incumbent.fencing.{module}"))
    own = [name for name, value in members if getattr(value, "__module__", "").endswith(f"fencing.{module}")]
    classes = [name for name in own if name[0].isupper() and name[1:] and name not in INTERNAL]
    source = (ROOT / f"src/incumbent/fencing/{module}.py").read_text()
    bounds = re.findall(r"^(\w+_MAX(?:_\w+)?|WAIT_S): Final", source, flags=re.MULTILINE)
    assert [name for name in (*classes, *bounds) if not re.search(rf"\b{name}\b", REFERENCE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_is_python(page: Path) -> None:
    for example in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        compile(example, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_rule_stands_in_each_language_once() -> None:
    """SQL and Lua say what rule.py says; a fence that compared tokens by itself would be another rule."""
    comparing = re.compile(r"\btoken\b\s*[<>]=?|[<>]=?\s*\btoken\b")
    found = [m for m in MODULES if comparing.search((ROOT / f"src/incumbent/fencing/{m}.py").read_text())]
    assert found == ["redisscript", "rule", "sql"]
