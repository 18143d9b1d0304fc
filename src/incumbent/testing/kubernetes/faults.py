"""Faults that a test plants between a client and the fake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

VERBS: Final = ("get", "list", "watch", "create", "update", "delete", "version")


class Harm(Enum):
    REFUSE = auto()  # the connection is closed before anything was done
    DROP_REPLY = (
        auto()
    )  # everything is done, and the connection is closed instead of an answer, after `seconds`
    DELAY = auto()  # seconds pass before it is done
    DELAY_REPLY = auto()  # it is done, and seconds pass before the answer
    STATUS = auto()  # an error is answered, and nothing was done
    STATUS_AFTER = auto()  # everything is done, and an error is answered


@dataclass
class Fault:
    """Strikes the next `times` requests of that verb whose Lease's name matches (lists and watches have the name "")."""

    harm: Harm
    verb: str = ""  # one of VERBS; "" = any
    name: str = ""  # a regular expression that must match the whole name; "" = any
    times: int = 1
    seconds: float = 0.0
    status: int = 500
    retry_after_s: int | None = None
    skip: int = 0  # let so many go before

    def strikes(self, verb: str, name: str) -> bool:
        """Whether this request is struck. Counts."""
        if self.times <= 0 or (self.verb and self.verb != verb):
            return False
        if self.name and re.fullmatch(self.name, name) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True
