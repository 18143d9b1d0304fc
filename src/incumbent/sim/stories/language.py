"""How a story is written: prose, commands that begin with ``> ``, and below each command its indented trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from incumbent.errors import InvalidInput

PROMPT: Final = "> "
INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Command:
    line: int  # in the file, from 1
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    pieces: Sequence[str | Command]  # lines of prose as they are, and commands; the trace is not kept

    def told(self, perform: Callable[[str], Sequence[str]]) -> str:
        """The whole file anew, with the trace that `perform` gives for each command.

        Raises InvalidInput, naming file and line, when a command makes no sense.
        """
        lines: list[str] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                lines.append(piece)
                continue
            lines.append(PROMPT + piece.text)
            try:
                lines += [(INDENT + line).rstrip() for line in perform(piece.text)]
            except InvalidInput as error:
                raise InvalidInput(f"{self.name}:{piece.line}", error.problem, error.fix) from error
            except Exception as error:
                error.add_note(f"{self.name}:{piece.line}: {piece.text}")
                raise
        return "\n".join(lines) + "\n"


def parse(name: str, text: str) -> Story:
    """Raises InvalidInput, naming file and line, on what is no story."""
    pieces: list[str | Command] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(PROMPT):
            pieces.append(Command(number, line.removeprefix(PROMPT).strip()))
        elif not line.startswith(INDENT):
            pieces.append(line.rstrip())
        elif not pieces or isinstance(pieces[-1], str):
            raise InvalidInput(
                f"{name}:{number}",
                "an indented line that follows no command",
                "a trace stands below a command",
            )
    while pieces and pieces[-1] == "":
        pieces.pop()
    _check_opening(name, pieces)
    return Story(name, pieces)


def _check_opening(name: str, pieces: Sequence[str | Command]) -> None:
    """A title, an empty line, and at least one line that says why it matters."""
    match list(pieces[:3]):
        case [str(title), "", str(reason)] if title and reason:
            pass
        case _:
            raise InvalidInput(
                f"{name}:1", "the story has no opening", "begin with a title, an empty line and what it tells"
            )
    if not any(isinstance(piece, Command) for piece in pieces):
        raise InvalidInput(f"{name}:{len(pieces)}", "nothing happens", f"commands begin with {PROMPT!r}")
