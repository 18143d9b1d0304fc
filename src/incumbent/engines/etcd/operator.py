"""What an operator does after an etcd was restored from a backup, or replaced."""

from __future__ import annotations

from incumbent.engines.etcd import parse
from incumbent.engines.etcd.gateway import Gateway
from incumbent.engines.etcd.members import incarnation_of
from incumbent.engines.etcd.sight import Sight
from incumbent.engines.etcd.store import Store
from incumbent.errors import IncumbentError, OutcomeUnknown
from incumbent.ids import TOKEN_INCARNATION_MAX
from incumbent.kv.api import Compare, Condition, Is, Put, Range, Txn


async def bump(url: str) -> int:
    """Raise the incarnation under the URL's prefix by one: compare and set, so two operators raise it twice or one fails.

    Members that joined before it lead no more, and what joins after it has tokens above all that were issued here. Returns the
    new one. Raises InvalidInput, EngineUnavailable, OutcomeUnknown, NotAllowed; IncumbentError when there is no higher one.
    """
    access, layout, timeout_s = parse(url)
    gateway = Gateway(access, Sight())
    store, key = Store(gateway), layout.incarnation_key
    try:
        (found,) = (await store.read(Txn(then=(Range(key),)), timeout=timeout_s)).results
        old, modified = incarnation_of(found), found.kvs[0].mod_revision if found.kvs else 0
        if old >= TOKEN_INCARNATION_MAX:
            raise IncumbentError(f"{old} incarnations are all that a token can tell apart")
        raising = Txn(
            conditions=(Condition(key, Compare.MOD, Is.EQUAL, modified),), then=(Put(key, b"%d" % (old + 1)),)
        )
        result = await store.submit(raising, timeout=timeout_s)
        if not result.succeeded:
            raise OutcomeUnknown("somebody else raised the incarnation at the same time: look, and decide")
        return old + 1
    finally:
        await gateway.close()
