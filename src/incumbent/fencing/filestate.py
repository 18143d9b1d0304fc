"""What a fence keeps in a file: one JSON object, replaced as a whole, with tokens as text (P35)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Overloaded, StorageCorrupt
from incumbent.fencing.rule import Seen, parse_token

FORMAT: Final = 1
NAMES_MAX: Final = 1000
"""Elections that may be fenced at one file."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept of one election."""

    seen: Seen = field(default_factory=Seen)
    refused: int = 0

    def raised(self, token: int, holder: str) -> Held:
        return replace(self, seen=self.seen.raised(token, holder))

    def refused_once(self) -> Held:
        return replace(self, refused=self.refused + 1)


def read_fences(path: Path) -> dict[str, Held]:
    """By the election's key; nothing when the file was never made.

    Raises StorageCorrupt: it is not what we wrote, and nothing is written until somebody has looked. EngineUnavailable.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EngineUnavailable(f"{path} cannot be read: {error}") from error
    try:
        kept = json.loads(text)
        if kept["format"] != FORMAT:
            raise ValueError(f"format {kept['format']!r}, this version reads {FORMAT}")
        return {key: _held(fields) for key, fields in kept["fences"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, InvalidInput) as error:
        raise StorageCorrupt(
            f"{path} is no fence of ours ({error}); restore it, with a token no lower"
        ) from error


def _held(fields: Mapping[str, Any]) -> Held:
    holder, refused = fields["holder"], fields["refused"]
    if not isinstance(holder, str) or not isinstance(refused, int):
        raise TypeError("a holder is a text, a count an integer")
    return Held(Seen(parse_token(fields["token"]), holder), refused)


def write_fences(path: Path, making: Path, fences: Mapping[str, Held]) -> None:
    """Durable when it returns; `making` is written first, and renamed.

    Raises Overloaded and EngineUnavailable: the old one stands. OutcomeUnknown: the new one stands, perhaps not durably.
    """
    if len(fences) > NAMES_MAX:
        raise Overloaded(f"{path}: more than {NAMES_MAX} elections are fenced here")
    kept = {
        key: {"token": str(held.seen.token), "holder": held.seen.holder, "refused": held.refused}
        for key, held in fences.items()
    }
    try:
        with making.open("wb") as file:
            file.write(json.dumps({"format": FORMAT, "fences": kept}, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        making.rename(path)
    except OSError as error:
        raise EngineUnavailable(f"{path} cannot be written: {error}") from error
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise OutcomeUnknown(f"{path} is written, perhaps not durably: {error}") from error


def sync_directory(directory: Path) -> None:
    """Make renames in it durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
