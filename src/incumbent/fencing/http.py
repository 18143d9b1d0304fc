"""What the middlewares for ASGI and WSGI share: how a request carries its token, and how one is turned away.

The check comes before the handler and is not atomic with what the handler writes. So the token goes on to the handler, whose own
transaction checks it again; or the middleware holds the fence's lock while the handler runs (`exclusive`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from incumbent.errors import EngineError, InvalidInput, OutcomeUnknown, StaleToken, Unsupported
from incumbent.fencing.api import Fence
from incumbent.fencing.rule import check_holder, parse_token

TOKEN_HEADER: Final = "Fencing-Token"  # noqa: S105 - a header's name
HOLDER_HEADER: Final = "Fencing-Holder"
HIGHEST_HEADER: Final = "Fencing-Token-Highest"
ADMITTED: Final = "incumbent.fencing"
"""Where the handler finds the Admitted of its request: a key of the ASGI scope or the WSGI environ."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, 9.2.1: they ask for no change."""
RETRY_AFTER_S: Final = 1


class Required(StrEnum):
    """Which requests must carry a token. One that carries it is checked in any case."""

    WRITES = "writes"  # every method but the safe ones
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that was not refused: for the handler, which gives both to the fence of its own transaction."""

    name: str
    token: int
    holder: str  # "" when the request does not say


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered in the handler's place."""

    status: HTTPStatus
    headers: Sequence[tuple[str, str]]
    body: bytes


class Door:
    """Reads what a request says, and words the refusals. Raises InvalidInput; Unsupported when the fence cannot be `exclusive`."""

    def __init__(self, fence: Fence, *, exclusive: bool, required: str) -> None:
        try:
            self._required = Required(required)
        except ValueError as error:
            raise InvalidInput(
                "required", f"{required!r} is unknown", f"use one of {', '.join(Required)}"
            ) from error
        if exclusive and not fence.exclusive:
            raise Unsupported(
                f"{fence.name}: this fence has no lock to hold while a handler runs; "
                "keep the token in a file or a database, or let the handler check it in its own transaction"
            )
        self._name = fence.name

    def read(self, method: str, tokens: Sequence[str], holders: Sequence[str]) -> Admitted | Answer | None:
        """What each header's lines say, taken strictly. None: there is no token, and none is needed."""
        try:
            holder = check_holder(_single(HOLDER_HEADER, holders))
            if tokens:
                return Admitted(self._name, parse_token(_single(TOKEN_HEADER, tokens)), holder)
        except InvalidInput as error:
            return self.answer(error)
        needed = self._required is Required.ALWAYS or (
            self._required is Required.WRITES and method not in SAFE_METHODS
        )
        if not needed:
            return None
        return _answer(
            HTTPStatus.PRECONDITION_REQUIRED, "token_missing", f"send {TOKEN_HEADER}"
        )  # RFC 6585, 3

    def answer(self, error: StaleToken | EngineError | OutcomeUnknown | InvalidInput) -> Answer:
        """How an error of the fence is told to the client."""
        match error:
            case StaleToken():
                highest = str(error.highest)
                extra = {"token": str(error.token), "highest": highest}  # as text: doubles lose bits (P35)
                return _answer(
                    HTTPStatus.PRECONDITION_FAILED,
                    "stale_token",
                    str(error),
                    extra,
                    (HIGHEST_HEADER, highest),
                )
            case InvalidInput():
                return _answer(HTTPStatus.BAD_REQUEST, "token_malformed", str(error))
            case _:  # the handler did not run
                return _answer(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "fence_unavailable",
                    "the fence could not be asked; nothing was done",
                    {},
                    ("Retry-After", str(RETRY_AFTER_S)),
                )


def _single(header: str, lines: Sequence[str]) -> str:
    """A header's only line. Two of them, or one joined from two, are not for us to choose from."""
    if len(lines) > 1:
        raise InvalidInput("header", f"{header} comes {len(lines)} times", "send it once")
    return lines[0].strip(" \t") if lines else ""


def _answer(
    status: HTTPStatus,
    code: str,
    detail: str,
    extra: dict[str, str] | None = None,
    header: tuple[str, str] | None = None,
) -> Answer:
    body = json.dumps({"error": code, "detail": detail, **(extra or {})}).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer(status, [*headers, header] if header else headers, body)
