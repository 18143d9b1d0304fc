"""`Engine.stand` and a claim's cell in several trips, where an engine cannot do them in one."""

from __future__ import annotations

from dataclasses import replace

from incumbent.engines.api import Claimed, Engine, Member, Session, Waiting
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    MemberGone,
    OutcomeUnknown,
    Overloaded,
    SessionGone,
)


async def join_and_claim(
    engine: Engine, session: Session, group: str, request_id: str, value: bytes, cell: str | None
) -> tuple[Member, Claimed | Waiting]:
    """`Engine.stand`."""
    return await claim_joined(engine, await engine.join(session, group, request_id, value), cell)


async def claim_joined(engine: Engine, member: Member, cell: str | None) -> tuple[Member, Claimed | Waiting]:
    """The second half of it, for an engine whose first one could not tell."""
    try:
        return member, await engine.claim(member, cell)
    except (EngineUnavailable, Overloaded) as error:
        raise OutcomeUnknown("joined, and then the engine was lost") from error
    except (MemberGone, SessionGone, IncarnationChanged, OutcomeUnknown):
        raise
    except Exception:
        await engine.leave(member)  # nobody else knows of it
        raise


async def with_cell(engine: Engine, answer: Claimed | Waiting, cell: str | None) -> Claimed | Waiting:
    """A claim's answer, and the cell, read after it."""
    if cell is None or not isinstance(answer, Claimed):
        return answer
    return replace(answer, cell=await engine.read_cell(answer.member.group, cell))
