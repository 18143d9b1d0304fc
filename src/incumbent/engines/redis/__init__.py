"""The engine on a Redis that is there anyway: every operation is one Lua script on keys of one slot. ADVISORY: see `guarantees`.

redis://user:password@host:6379/0?accept=advisory&namespace=incumbent
"""

from __future__ import annotations

from incumbent.engines.api import Engine
from incumbent.engines.redis.settings import OPTIONS, Settings
from incumbent.errors import Unsupported

__all__ = ["OPTIONS", "connect"]


async def connect(url: str) -> Engine:
    """Open the engine on the server that `url` names.

    Raises InvalidInput for a wrong URL, Unsupported where the client library is missing or the data is of another version,
    NotAllowed for a wrong password, EngineUnavailable.
    """
    settings = Settings.parse(url)
    try:
        from incumbent.engines.redis.engine import RedisEngine
    except ModuleNotFoundError as error:
        raise Unsupported("the client library is missing: pip install incumbent[redis]") from error

    return await RedisEngine.open(settings)
