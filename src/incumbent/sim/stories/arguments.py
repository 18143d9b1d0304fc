"""The words behind a command's name, taken one by one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from typing import Final

from incumbent.consensus.raft.messages import RaftMessage
from incumbent.errors import InvalidInput
from incumbent.ids import NodeId
from incumbent.sim.stories.stage import Selection
from incumbent.sim.stories.words import KINDS, MS

UNITS_NS: Final = {"ms": MS, "s": 1000 * MS}


class Arguments:
    """Every method raises InvalidInput when the words are not what is wanted."""

    def __init__(self, text: str) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise InvalidInput("command", f"{text!r}: {error}", "close the quotes") from error

    def take(self, what: str) -> str:
        if not self._words:
            raise InvalidInput("command", f"{what} is missing", f"name {what}")
        return self._words.pop(0)

    def rest(self) -> list[str]:
        words, self._words = self._words, []
        return words

    def expect(self, word: str) -> None:
        found = self.take(f"{word!r}")
        if found != word:
            raise InvalidInput("command", f"{found!r} is not {word!r}", f"put {word!r} there")

    def follows(self, word: str) -> bool:
        """Whether this word is next; if so it is taken."""
        if self._words[:1] != [word]:
            return False
        del self._words[0]
        return True

    def end(self) -> None:
        if self._words:
            raise InvalidInput("command", f"{' '.join(self._words)!r} is too much", "leave it out")

    def number(self, what: str) -> int:
        return number(self.take(what))

    def duration_ns(self) -> int:
        return duration_ns(self.take("a duration"))

    def sections(self, first: str, others: Collection[str]) -> dict[str, list[str]]:
        """The rest, split at the words in `others`; what stands before the first of them is called `first`."""
        found: dict[str, list[str]] = {first: []}
        name = first
        for word in self.rest():
            if word not in others:
                found[name].append(word)
            elif word in found:
                raise InvalidInput("command", f"{word!r} stands there twice", "say it once")
            else:
                name, found[word] = word, []
        return found

    def selection(self, nodes: Collection[NodeId]) -> Selection:
        """``[a->b] [KIND]``: a side of the arrow may be empty."""
        sender = to = None
        if self._words and "->" in self._words[0]:
            left, _, right = self._words.pop(0).partition("->")
            sender, to = (_node(name, nodes) if name else None for name in (left, right))
        kind: type[RaftMessage] | None = None
        if self._words:
            name = self._words.pop(0)
            if name not in KINDS:
                raise InvalidInput("command", f"{name!r} is no kind of message", f"one of {', '.join(KINDS)}")
            kind = KINDS[name]
        self.end()
        return Selection(sender, to, kind)


def _node(name: str, nodes: Collection[NodeId]) -> NodeId:
    if name not in nodes:
        raise InvalidInput("node", f"there is no node {name!r}", f"the nodes are {' '.join(nodes) or 'none'}")
    return NodeId(name)


def number(text: str) -> int:
    if not text.isdecimal():
        raise InvalidInput("command", f"{text!r} is not a number", "write digits")
    return int(text)


def duration_ns(text: str) -> int:
    found = re.fullmatch(r"(\d+)(ms|s)", text)
    if found is None:
        raise InvalidInput("command", f"{text!r} is not a duration", "write it like 50ms or 2s")
    return int(found[1]) * UNITS_NS[found[2]]


def pairs(words: Iterable[str]) -> dict[str, str]:
    """``a=1 b=2``."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InvalidInput("command", f"{word!r} is not NAME=VALUE", "write it like a=1")
        found[name] = value
    return found
