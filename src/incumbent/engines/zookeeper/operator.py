"""For an operator, after ZooKeeper was restored from a backup or lost its data."""

from __future__ import annotations

from incumbent.engines.zookeeper.layout import Tree
from incumbent.engines.zookeeper.line import Line
from incumbent.engines.zookeeper.place import parse
from incumbent.engines.zookeeper.service import BadVersion, Service, commit, failure, get, unexpected
from incumbent.errors import EngineUnavailable, IncumbentError
from incumbent.ids import TOKEN_INCARNATION_MAX


async def bump(url: str) -> int:
    """Raise the incarnation below the URL's path and return the new one: tokens from now on are above all that were issued, and
    whoever leads joins again.

    Raises InvalidInput, EngineUnavailable, NotAllowed; OutcomeUnknown when it may have been raised.
    """
    place = parse(url)
    service = Service(place, Tree(place.root), Line(place))
    try:
        await service.found()
        deadline_s = service.deadline_s()
        while service.now_s() < deadline_s:
            (found,) = await service.fresh(get(service.tree.incarnation), deadline_s=deadline_s)
            now = service.incarnation(found)
            if now.number >= TOKEN_INCARNATION_MAX:
                raise IncumbentError(f"{now.number + 1} incarnations are more than a token can tell apart")
            raised = b"%d" % (now.number + 1)
            (result,) = await service.write(
                commit(("set_data", service.tree.incarnation, raised, now.counter)), deadline_s=deadline_s
            )
            failed = failure(result)
            if failed is None:
                return now.number + 1
            if not isinstance(failed[1], BadVersion):  # somebody else has raised it meanwhile
                raise unexpected(failed[1])
        raise EngineUnavailable("others raise the incarnation too: look, and ask again if need be")
    finally:
        await service.line.close()
