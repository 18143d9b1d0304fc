"""Faults of the fences: of what a resource refuses, keeps and counts."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

RULE: Final = "fencing/rule.py"
SQL: Final = "fencing/sql.py"
OF_MEMORY: Final = (suite("tests/fencing/test_memory.py", "tests/fencing/test_rule.py"),)
OF_SQLITE: Final = (suite("tests/fencing/test_sqlite.py"),)

FENCES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the fence lets everybody through",
        RULE,
        "            return token < self.token\n",
        "            return False\n",
        OF_MEMORY,
        promises=("P14", "P33", "P34"),
    ),
    Mutant(
        "two holders share a token",
        RULE,
        '        return "" not in (holder, self.holder) and holder != self.holder\n',
        "        return False\n",
        OF_MEMORY,
        promises=("P33",),
    ),
    Mutant(
        "tokens are compared as doubles",
        RULE,
        "            return token < self.token\n",
        "            return float(token) < float(self.token)\n",
        OF_MEMORY,
        promises=("P35",),
    ),
    Mutant(
        "a token above the largest is taken from a text",
        RULE,
        "if not _TOKEN_TEXT.fullmatch(text) or int(text) > TOKEN_MAX:",
        "if not _TOKEN_TEXT.fullmatch(text):",
        OF_MEMORY,
        promises=("P35",),
    ),
    Mutant(
        "long names share a fence",
        RULE,
        "    return _DIGEST + hashlib.sha256(encoded).hexdigest()\n",
        "    return name[:KEY_BYTES_MAX]\n",
        OF_MEMORY,
        promises=("P5",),
    ),
    Mutant(
        "a lower token lowers the fence of a database",
        SQL,
        'f"token = case when {higher} then excluded.token else f.token end, "',
        'f"token = excluded.token, "',
        OF_SQLITE,
        promises=("P33", "P34"),
    ),
    Mutant(
        "a database counts no refusals",
        SQL,
        "compatible}) then 0 else 1 end",
        "compatible}) then 0 else 0 end",
        OF_SQLITE,
    ),
)
