"""A URL of every engine, with the servers behind it: real ones, and for Kubernetes the fake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from bench.nodes import CLUSTER, Nodes

from tests.servers.etcd import etcd
from tests.servers.kubernetes import kubernetes
from tests.servers.postgres import postgres
from tests.servers.redis import redis
from tests.servers.zookeeper import zookeeper


@contextmanager
def _local(directory: Path) -> Iterator[str]:
    yield f"local://{directory}/elections"


@contextmanager
def _cluster(directory: Path) -> Iterator[str]:
    nodes = Nodes(directory)
    try:
        for name in nodes.addresses:
            nodes.start(name)
        asyncio.run(nodes.formed())
        yield f"{nodes.url}?cluster={CLUSTER}"
    finally:
        nodes.stop()


@contextmanager
def _etcd(directory: Path) -> Iterator[str]:
    with etcd(directory) as server:
        yield "etcd://" + ",".join(f"{host}:{port}" for host, port in server.clients.values())


@contextmanager
def _zookeeper(directory: Path) -> Iterator[str]:
    with zookeeper(directory) as server:
        yield f"zookeeper://{server.hosts}"


@contextmanager
def _postgresql(_: Path) -> Iterator[str]:
    with postgres() as server:
        yield server.url()


@contextmanager
def _redis(directory: Path) -> Iterator[str]:
    with redis(directory) as server:
        yield f"{server.url()}?accept=advisory"


@contextmanager
def _kubernetes(directory: Path) -> Iterator[str]:
    with kubernetes(directory) as server:
        yield f"kubernetes://default?kubeconfig={server.config}"


EVERY: Final[Mapping[str, Callable[[Path], AbstractContextManager[str]]]] = {
    "local": _local,
    "cluster": _cluster,
    "etcd": _etcd,
    "zookeeper": _zookeeper,
    "postgresql": _postgresql,
    "redis": _redis,
    "kubernetes": _kubernetes,
}
"""By scheme. etcd, ZooKeeper and the own cluster run three servers as they come; the directory is theirs."""
