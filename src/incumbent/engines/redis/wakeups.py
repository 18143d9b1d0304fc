"""PUBLISH in the scripts, SUBSCRIBE on a connection of our own. Keyspace notifications are off by default, so expiry is not announced."""

from __future__ import annotations

from typing import Final

from redis import exceptions

from incumbent.engines.redis.link import Link, translated
from incumbent.engines.redis.settings import Settings
from incumbent.engines.wakeups import LOOK_EVERY_S, Ready, Wake, Wakeups
from incumbent.errors import EngineUnavailable, OutcomeUnknown

PROBE_EVERY_S: Final = 1.0
"""How often the listening connection is asked whether it still is one. A silent server wakes nobody."""


def wakeups(settings: Settings) -> Wakeups:
    async def listen(ready: Ready, wake: Wake) -> None:
        link = Link(settings, settings.host, settings.port)
        await link.open()
        try:
            await link.ask("SUBSCRIBE", "{" + settings.namespace + "}wake")
            ready()
            while True:
                said = await link.hear(PROBE_EVERY_S)
                if said is None:
                    said = await link.ask(
                        "PING"
                    )  # the answer is a pong, or a message that came just before it
                if said[0] == b"message":
                    wake(said[2].decode())
        except OutcomeUnknown as error:
            raise EngineUnavailable(str(error)) from error
        except exceptions.ResponseError as error:
            raise translated(error) from error
        finally:
            await link.close()

    return Wakeups(listen, poll_s=LOOK_EVERY_S)
