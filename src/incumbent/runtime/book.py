"""Where to reach which node. Advice, never safety: a wrong address leads to a node that says another name, and is refused.

Each node says its own address in its hello, and those of others as it knows them. What a node says of itself prevails; hearsay
only fills in who was not known. The book is kept on disk, so that a node that starts again finds the others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from incumbent.runtime.frames import Address

logger = logging.getLogger(__name__)

FILE_NAME: Final = "addresses.json"
ADDRESSES_MAX: Final = 256
"""More are not taken on: nobody can fill the book with hearsay."""


class AddressBook(Mapping[str, Address]):
    """By node name. What is learned is written down when it is news."""

    def __init__(self, data_dir: Path, own: Mapping[str, Address]) -> None:
        """`own` is what this process was configured with; it prevails over what is on disk."""
        self._path = data_dir / FILE_NAME
        self._known = {**_read(self._path), **own}

    def __getitem__(self, name: str) -> Address:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def heard(self, speaker: str, addresses: Iterable[tuple[str, Address]]) -> bool:
        """Take on what `speaker` says. Tells whether any of it is news."""
        news = {
            name: address
            for name, address in addresses
            if self._known.get(name) != address and (name == speaker or name not in self._known)
        }
        return self._learn(news)

    def put(self, addresses: Mapping[str, Address]) -> bool:
        """An operator says so. Tells whether it is news."""
        return self._learn({name: at for name, at in addresses.items() if self._known.get(name) != at})

    def _learn(self, news: Mapping[str, Address]) -> bool:
        if not news or len(self._known.keys() | news.keys()) > ADDRESSES_MAX:
            return False
        self._known.update(news)
        unfinished = self._path.with_suffix(".new")
        try:
            unfinished.write_text(json.dumps({name: list(at) for name, at in sorted(self._known.items())}))
            unfinished.rename(self._path)
        except OSError as error:  # a disk that is full or dying is found out by the log, not here
            logger.warning(
                "%s could not be written, so a restart may not find every node: %s", self._path, error
            )
        return True


def _read(path: Path) -> dict[str, Address]:
    try:
        return {
            str(name): (str(host), int(port)) for name, (host, port) in json.loads(path.read_text()).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read (%s): the others will tell", path, error)
        return {}
