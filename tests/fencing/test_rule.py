"""Tokens as text, and the names of fences."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.errors import InvalidInput
from incumbent.fencing.rule import KEY_BYTES_MAX, TOKEN_DIGITS, TOKEN_MAX, Seen, key_of, parse_token

tokens = st.integers(1, TOKEN_MAX)
holders = st.sampled_from(["", "a", "b"])


@given(tokens)
def test_a_token_survives_as_text(token: int) -> None:
    """P35."""
    assert parse_token(str(token)) == token


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "+1", "01", "1.0", "1e3", "1_000", "0x1", "nan", " 1", "1 ", "1\n", "1;a", "1,2"),
        *("\u0661", "\u00b2"),  # an Arabic one, a superscript two: digits to str.isdigit
        *(str(2**63), "9" * 20, "1" * 100_000),
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    """P35: no sign, no float, no overflow, and one way to write each token."""
    with pytest.raises(InvalidInput, match="^token: "):
        parse_token(text)


def test_the_digits_of_a_token() -> None:
    assert TOKEN_DIGITS == len(str(2**63 - 1)) == 19


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_two_names_never_share_a_key(a: str, b: str) -> None:
    """P5."""
    names = [n for n in (a, b, a * 600, "sha256:" + a) if "\0" not in n and n.isprintable()]
    assert len({key_of(name) for name in names}) == len(set(names))
    assert all(len(key_of(name).encode()) <= KEY_BYTES_MAX for name in names)


@given(st.lists(st.tuples(tokens, holders), max_size=20))
def test_what_is_accepted_never_falls(writes: list[tuple[int, str]]) -> None:
    """P33: and of one token, only one holder's writes."""
    seen, accepted = Seen(), list[tuple[int, str]]()
    for token, holder in writes:
        if not seen.refuses(token, holder):
            seen = seen.raised(token, holder)
            accepted.append((token, holder))
    assert [token for token, _ in accepted] == sorted(token for token, _ in accepted)
    known = {(token, holder) for token, holder in accepted if holder}
    assert len({token for token, _ in known}) == len(known)


@pytest.mark.slow
def test_to_check_tokens_needs_neither_asyncio_nor_an_engine() -> None:
    """A resource is no candidate."""
    modules = ("memory", "sqlite", "sql", "postgres", "redis", "files", "wsgi")
    script = (
        "import sys\n"
        + "".join(f"import incumbent.fencing.{module}\n" for module in modules)
        + "print(sorted(m for m in sys.modules if m == 'asyncio' or m.startswith('incumbent.engines')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
