"""What `incumbent doctor` learns of a Redis server that only the server can tell."""

from __future__ import annotations

from typing import Any, Final

from redis import exceptions

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.redis.link import Link, translated
from incumbent.engines.redis.settings import Settings
from incumbent.errors import EngineUnavailable, OutcomeUnknown

VERSION_MIN: Final = (6, 0)
_CLOCK: Final = (
    "sessions end by the server's wall clock: a step forwards ends them early, and then two may believe that they lead; "
    "a step backwards lets a dead leader last longer. Let it be slewed, and fence"
)


async def examine(url: str) -> Examination:
    """Asks, changes nothing. Raises InvalidInput, EngineUnavailable, NotAllowed."""
    settings = Settings.parse(url)
    link = Link(settings, settings.host, settings.port)
    await link.open()
    try:
        info = _parsed(await link.ask("INFO"))
        config = await _config(link)
    except exceptions.ResponseError as error:
        raise translated(error) from error
    except OutcomeUnknown as error:  # of a question
        raise EngineUnavailable(str(error)) from error
    finally:
        await link.close()
    replicas = int(info.get("connected_slaves", "0"))
    return Examination(
        server=f"Redis {info.get('redis_version', '?')}, {1 + replicas} server{'s' if replicas else ''}",
        ttl_min_s=TTL_MIN_S, ttl_max_s=TTL_MAX_S, clock=_CLOCK,
        findings=tuple(_judge(settings, info, config, replicas)),
    )  # fmt: skip


async def _config(link: Link) -> dict[str, str]:
    """Empty where the server does not tell, as those that others operate."""
    found: dict[str, str] = {}
    for name in ("maxmemory-policy", "appendonly", "appendfsync"):
        try:
            answer: list[Any] = await link.ask("CONFIG", "GET", name)
        except exceptions.ResponseError:
            return {}
        found.update(
            {key.decode(): value.decode() for key, value in zip(answer[::2], answer[1::2], strict=True)}
        )
    return found


def _judge(settings: Settings, info: dict[str, str], config: dict[str, str], replicas: int) -> list[Finding]:
    found: list[Finding] = []

    def say(severity: Severity, code: str, words: str, *, unless: bool) -> None:
        if not unless:
            found.append(Finding(severity, code, words))

    version = tuple(int(part) for part in info.get("redis_version", "0.0").split(".")[:2])
    say(
        Severity.FAULT, "redis-old", f"Redis {info.get('redis_version')} is not tried; use 6.0 or newer",
        unless=version >= VERSION_MIN,
    )  # fmt: skip
    say(
        Severity.FAULT, "redis-replica", "this server only follows another; name the primary",
        unless=info.get("role") == "master",
    )  # fmt: skip
    policy = config.get("maxmemory-policy", info.get("maxmemory_policy", "noeviction"))
    say(
        Severity.FAULT, "redis-evicts",
        f"maxmemory-policy is {policy}: a full server forgets sessions that live; use noeviction",
        unless=policy == "noeviction",
    )  # fmt: skip
    say(
        Severity.WARNING, "redis-advisory",
        "nothing but the tokens protects here, and the URL does not say that this is understood: check them where writes "
        "arrive, and add accept=advisory",
        unless=settings.advisory,
    )  # fmt: skip
    kept = config.get("appendonly", "yes" if info.get("aof_enabled") == "1" else "no") == "yes"
    say(
        Severity.WARNING, "redis-forgets",
        "a restart takes back what was acknowledged, and every connected client then refuses to lead until the incarnation is "
        "raised; use appendonly yes and appendfsync always",
        unless=kept and config.get("appendfsync", "always") == "always",
    )  # fmt: skip
    say(
        Severity.WARNING, "redis-failover-forgets",
        f"{replicas} replica{'s' if replicas > 1 else ''} may be promoted without what was acknowledged last; leaders then "
        "stop, and two may lead at one time",
        unless=replicas == 0,
    )  # fmt: skip
    return found


def _parsed(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, separator, value in lines if separator}
