"""WSGI middleware (PEP 3333) that refuses the requests of a stale leader."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from incumbent.errors import EngineError, OutcomeUnknown, StaleToken
from incumbent.fencing.api import Fence
from incumbent.fencing.http import ADMITTED, Admitted, Answer, Door, Required

_TOKEN: Final = "HTTP_FENCING_TOKEN"  # noqa: S105 - a header's name
_HOLDER: Final = "HTTP_FENCING_HOLDER"


class Fenced:
    """``application = Fenced(application, fence)``

    A request with a token below the highest that `fence` has seen is answered 412 with that in ``Fencing-Token-Highest``, one that
    should carry a token and does not 428, one whose token is malformed 400, and one whose token cannot be looked up in time 503; the
    application does not see them. Others raise the fence and go on, with ``environ["incumbent.fencing"]`` saying what was admitted.
    A StaleToken that the application raises before it has begun its answer becomes a 412 as well.

    The check is not atomic with what the application writes: let it check the token again in its own transaction. Or give
    ``exclusive=True``: then the fence's lock is held until the application's answer is through, in all workers that share the fence.

    The fence must be usable from every thread of the server. Raises InvalidInput; Unsupported when the fence has no lock to hold.
    """

    def __init__(
        self,
        application: WSGIApplication,
        fence: Fence,
        *,
        exclusive: bool = False,
        required: str = Required.WRITES,
    ) -> None:
        self._application = application
        self._fence = fence
        self._exclusive = exclusive
        self._door = Door(fence, exclusive=exclusive, required=required)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # A server joins the lines of a header that comes twice with a comma (PEP 3333 leaves no other way); that is malformed.
        tokens = [environ[_TOKEN]] if _TOKEN in environ else []
        holders = (
            [environ[_HOLDER].encode("latin-1").decode(errors="surrogateescape")]
            if _HOLDER in environ
            else []
        )
        found = self._door.read(environ["REQUEST_METHOD"], tokens, holders)
        if isinstance(found, Answer):
            return _reply(found, start_response)
        if found is None:
            return self._application(environ, start_response)
        with ExitStack() as held:
            try:
                self._fence.prime(found.token, found.holder)  # durable before the application does anything
                if self._exclusive:
                    held.enter_context(self._fence.write(found.token, found.holder))
            except (StaleToken, EngineError, OutcomeUnknown) as error:
                return _reply(self._door.answer(error), start_response)
            return self._admit(found, environ, start_response, held.pop_all())

    def _admit(
        self, admitted: Admitted, environ: WSGIEnvironment, start_response: StartResponse, held: ExitStack
    ) -> Iterable[bytes]:
        with ExitStack() as unless_begun:
            unless_begun.push(held)
            environ[ADMITTED] = admitted
            try:
                body = self._application(environ, start_response)
            except StaleToken as stale:
                return _reply(self._door.answer(stale), start_response, sys.exc_info())
            unless_begun.pop_all()
        return _Body(body, held) if self._exclusive else body


class _Body:
    """The application's answer, which lets go of the fence when the server closes it."""

    def __init__(self, body: Iterable[bytes], held: ExitStack) -> None:
        self._body = body
        self._held = held

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        with self._held:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()


def _reply(answer: Answer, start_response: StartResponse, failed: Any = None) -> Iterable[bytes]:
    start_response(f"{answer.status.value} {answer.status.phrase}", list(answer.headers), failed)
    return [answer.body]
