"""docs/reference/engines.md says what the engines declare, and what was shown on each. To bring it up to date:

.venv/bin/python -m tests.engines.test_engine_docs
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path

from incumbent.engines.api import Guarantees
from incumbent.engines.registry import BUILT_IN
from tests.engines import shown as evidence

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "engines.md"


def declared() -> dict[str, Guarantees]:
    return {
        scheme: import_module(f"{package}.guarantees").GUARANTEES
        for scheme, package in sorted(BUILT_IN.items())
    }


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(engines: dict[str, Guarantees]) -> str:
    rows = [
        ["", *(f"`{scheme}://`" for scheme in engines)],
        ["---"] * (len(engines) + 1),
        *(
            [f"`{field.name}`", *(shown(getattr(g, field.name)) for g in engines.values())]
            for field in fields(Guarantees)
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def split(page: str, section: str = "declared") -> tuple[str, str, str]:
    begin, end = (f"<!-- {section}: {edge} -->\n" for edge in ("begin", "end"))
    before, _, rest = page.partition(begin)
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after


def test_the_page_shows_what_the_engines_declare() -> None:
    _, inside, _ = split(PAGE.read_text())
    assert inside == table(declared())


def test_the_page_lists_what_was_shown_on_each() -> None:
    _, inside, _ = split(PAGE.read_text(), "shown")
    assert inside == evidence.section()
    assert sorted(each.engine for each in evidence.EVERY) == sorted(BUILT_IN)


def test_what_a_service_cannot_do_does_not_apply() -> None:
    """Of the local engine no client can be killed within a process, and one check needs that."""
    skipped = {each.engine: [check.__name__ for check in each.not_applicable] for each in evidence.EVERY}
    assert skipped["local"] == ["check_a_killed_clients_session_ends"]
    assert skipped["redis"] == []


def test_every_declared_field_is_explained() -> None:
    before, _, after = split(PAGE.read_text())
    missing = [f.name for f in fields(Guarantees) if f"- `{f.name}`" not in before + after]
    assert missing == []


def test_every_option_is_documented() -> None:
    page = PAGE.read_text()
    options = {o for package in BUILT_IN.values() for o in import_module(package).OPTIONS}
    assert sorted(o for o in options if f"| `{o}` |" not in page) == []


if __name__ == "__main__":
    page = PAGE.read_text()
    for name, made in (("declared", table(declared())), ("shown", evidence.section())):
        before, _, after = split(page, name)
        page = before + made + after
    PAGE.write_text(page)
