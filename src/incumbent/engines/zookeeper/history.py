"""Whether ZooKeeper's history is still the one that this process has seen, and which incarnation of it.

A restored or emptied ensemble gives out zxids that it gave before, and tokens with them. What a quorum commits now carries a
higher zxid than all that was acknowledged before it was asked for; a lower one means that the history went back. From then on
nobody leads here until an operator has raised the incarnation (`incumbent engine bump`), which puts all tokens above all former
ones.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from incumbent.errors import IncarnationChanged

log: Final = logging.getLogger("incumbent.zookeeper")


@dataclass(slots=True)
class History:
    newest: int = 0  # the highest zxid that this process has seen
    incarnation: int = 0  # the highest that it has seen
    breaks: int = 0  # how often the history went back
    _must_exceed: int | None = None

    def committed(self, asked_after: int, zxid: int) -> None:
        """A quorum committed something that was asked for when `asked_after` was the newest; 0 = it is not known at what zxid."""
        if 0 < zxid < asked_after:  # impossible in one history
            log.error(
                "ZooKeeper's history went back from %#x to %#x: incumbent engine bump", asked_after, zxid
            )
            self.newest = zxid
            self.breaks += 1
            self._must_exceed = self.incarnation
        self.newest = max(self.newest, zxid)

    def found(self, incarnation: int) -> None:
        """What the ensemble says of its incarnation. Raises IncarnationChanged while it is not to be believed."""
        if incarnation < self.incarnation or (
            self._must_exceed is not None and incarnation <= self._must_exceed
        ):
            raise IncarnationChanged(
                f"ZooKeeper was restored or emptied, and its incarnation {incarnation} was not raised since: "
                f"incumbent engine bump"
            )
        self._must_exceed = None
        self.incarnation = incarnation
