"""What the documentation says exists, and what exists is documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from incumbent import errors
from incumbent.check.history import Kind
from incumbent.check.leadership import Fault

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def error_names() -> list[str]:
    return [
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.IncumbentError) and value is not errors.IncumbentError
    ]


def test_every_error_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    assert [name for name in error_names() if f"| `{name}` |" not in page] == []


def test_the_tree_at_the_top_of_the_errors_is_complete() -> None:
    assert errors.__doc__
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert drawn == set(error_names())


def dead_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return [f"{page.relative_to(ROOT)}: {t}" for t in targets if not (page.parent / t).exists()]


def test_no_link_leads_nowhere() -> None:
    assert [dead for page in PAGES for dead in dead_links(page)] == []


def dead_places(page: Path) -> list[str]:
    """Paths below src/incumbent that the architecture page names and that do not exist."""
    named = re.findall(r"^\| .* \| `([\w/]+\.py)` \|$", page.read_text(), flags=re.MULTILINE)
    assert named, "the page has its table"
    return [path for path in named if not (ROOT / "src" / "incumbent" / path).exists()]


def test_the_one_place_where_a_thing_happens_exists() -> None:
    assert dead_places(ROOT / "docs" / "explanation" / "architecture.md") == []


def test_every_fault_and_event_of_the_judge_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "history.md").read_text()
    assert [name for name in (*Fault, *Kind) if f"`{name}`" not in page] == []
