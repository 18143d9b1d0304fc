"""The engine on ZooKeeper 3.5 and newer, which others run::

    zookeeper://user:password@host:2181,host:2181,host:2181/services

The path is the node below which everything lies (``/incumbent`` when there is none): the election ``scheduler`` queues at
``/services/scheduler``, where kazoo's Election and Lock queue too. Optional: ``layout=curator``, to queue with Curator's
candidates instead; ``tls_ca``, ``tls_certificate`` and ``tls_key``, PEM files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from incumbent.engines.api import Engine

OPTIONS: Final = ("layout", "tls_ca", "tls_certificate", "tls_key")


async def connect(url: str) -> Engine:
    """Raises InvalidInput naming the part of the URL and the fix, EngineUnavailable when no server with a quorum behind it
    answers, NotAllowed, Unsupported when kazoo is not installed."""
    from incumbent.engines.zookeeper.place import parse
    from incumbent.errors import Unsupported

    place = parse(url)
    try:
        from incumbent.engines.zookeeper.engine import ZooKeeperEngine
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "kazoo":
            raise
        raise Unsupported("zookeeper:// needs kazoo: pip install 'incumbent[zookeeper]'") from error
    return await ZooKeeperEngine.open(place)
