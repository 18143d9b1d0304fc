"""What becomes of an act in a forked child."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Final

from incumbent.errors import EngineUnavailable, IncumbentError, InvalidInput

NOTHING: Final = 0
ANYTHING_ELSE: Final = 1
CODES: Final[dict[type[IncumbentError], int]] = {InvalidInput: 7, EngineUnavailable: 8}


def in_a_child(act: Callable[[], object]) -> type[IncumbentError] | None:
    """Fork, act there, and give the kind of what it raised; the child then goes without a trace."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # from Python 3.12 on, where other tests left threads
        child = os.fork()
    if child == 0:
        code = ANYTHING_ELSE
        try:
            act()
            code = NOTHING
        except IncumbentError as error:
            code = CODES.get(type(error), ANYTHING_ELSE)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != ANYTHING_ELSE, "the child failed in another way"
    return {code: kind for kind, code in CODES.items()}.get(code)
