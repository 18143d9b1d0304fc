"""The rule that every fence follows, and what every fence takes as a token, a name and a holder.

A token below the highest seen is refused. So is an equal one with another holder, where both are known: two leaders with one
token are what a fence is there to keep apart (P33). SQL and Lua say the same in their own words; one suite holds them to it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from incumbent.errors import InvalidInput
from incumbent.ids import TOKEN_INCARNATION_MAX, TOKEN_NATIVE_BITS

TOKEN_MAX: Final = (TOKEN_INCARNATION_MAX + 1 << TOKEN_NATIVE_BITS) - 1
TOKEN_DIGITS: Final = len(str(TOKEN_MAX))
KEY_BYTES_MAX: Final = 1024
"""Names up to here stand in the resource as they are; longer ones as their digest, since no index takes any length."""
HOLDER_BYTES_MAX: Final = 1024
_DIGEST: Final = "sha256:"
_TOKEN_TEXT: Final = re.compile(rf"[1-9][0-9]{{0,{TOKEN_DIGITS - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest token that a resource accepted, and whose it is."""

    token: int = 0  # 0: none yet
    holder: str = ""  # "": not known

    def refuses(self, token: int, holder: str) -> bool:
        """Whether a write under `token` comes too late."""
        if token != self.token:
            return token < self.token
        return "" not in (holder, self.holder) and holder != self.holder

    def raised(self, token: int, holder: str) -> Seen:
        """What is seen once a write that is not refused was done."""
        return Seen(token, holder or (self.holder if token == self.token else ""))


def check_token(token: int) -> int:
    """Raises InvalidInput for anything but a fencing token."""
    # A float or a bool would compare, and a float would lose the low bits that tell two terms apart.
    if type(token) is not int or not 0 < token <= TOKEN_MAX:
        raise InvalidInput(
            "token", f"{token!r} is no fencing token", "give term.token, an integer from 1 to 2**63 - 1"
        )
    return token


def parse_token(text: str) -> int:
    """A token from its decimal digits, as a header or a JSON text carries it: no sign, point, space or leading zero.

    Raises InvalidInput for anything else.
    """
    if not _TOKEN_TEXT.fullmatch(text) or int(text) > TOKEN_MAX:
        shown = text[: 2 * TOKEN_DIGITS]
        raise InvalidInput(
            "token", f"{shown!r} is no fencing token", "write an integer from 1 to 2**63 - 1 in plain digits"
        )
    return int(text)


def check_holder(holder: str) -> str:
    """The candidate that writes, or "" where it is not known. Raises InvalidInput."""
    if len(_encoded("holder", holder)) > HOLDER_BYTES_MAX:
        raise InvalidInput("holder", "is too long", f"use at most {HOLDER_BYTES_MAX} bytes of UTF-8")
    return holder


def key_of(name: str) -> str:
    """What a fence's name is called inside the resource: two names never share a key (P5). Raises InvalidInput."""
    encoded = _encoded("name", name)
    if not encoded:
        raise InvalidInput("name", "is empty", "give the election's name, with the slot for a semaphore")
    if len(encoded) <= KEY_BYTES_MAX and not name.startswith(_DIGEST):
        return name
    return _DIGEST + hashlib.sha256(encoded).hexdigest()


def _encoded(field: str, text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(field, "cannot be written as UTF-8", "leave out lone surrogates") from error
    if b"\0" in encoded:
        raise InvalidInput(field, f"{text[:40]!r} holds a NUL", "use any character but NUL")
    return encoded
