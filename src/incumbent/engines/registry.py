"""From a URL to an engine, and from a scheme to the ender that the guardian uses.

An engine is a package with ``async def connect(url: str) -> Engine`` and a module ``ender`` with
``def make_ender() -> Ender``. Ours are known here, so that a source checkout works without being installed; others
register ``connect`` under the entry-point group ``incumbent.engines``, named by their scheme. Nothing is imported before
it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final, cast
from urllib.parse import urlencode

from incumbent.engines.api import Ender, Engine, Guarantees
from incumbent.engines.examination import Examination
from incumbent.engines.url import scheme_of
from incumbent.errors import InvalidInput, Unsupported

ENTRY_POINT_GROUP: Final = "incumbent.engines"
BUILT_IN: Final = {
    "cluster": "incumbent.engines.cluster",
    "etcd": "incumbent.engines.etcd",
    "kubernetes": "incumbent.engines.kubernetes",
    "local": "incumbent.engines.local",
    "zookeeper": "incumbent.engines.zookeeper",
    "postgresql": "incumbent.engines.postgres",
    "redis": "incumbent.engines.redis",
}
REQUIRABLE: Final = tuple(f.name for f in fields(Guarantees) if f.type in (bool, "bool"))
"""The guarantees that a caller can require: those that are yes or no."""


async def connect(url: str, *, require: Iterable[str] = (), **options: object) -> Engine:
    """Open the engine that `url` names. `options` are added to the URL's own.

    `require` names guarantees (fields of `Guarantees`) that the caller cannot do without.
    Raises InvalidInput for a URL, option or guarantee that is not known, Unsupported when the engine lacks one.
    """
    required = tuple(require)
    unknown = sorted(set(required) - set(REQUIRABLE))
    if unknown:
        raise InvalidInput("require", f"{unknown[0]!r} is no guarantee", f"known: {', '.join(REQUIRABLE)}")
    module, function = _find(scheme_of(url))
    if options:
        url += ("&" if "?" in url else "?") + urlencode({name: str(v) for name, v in options.items()})
    engine = cast(Engine, await getattr(import_module(module), function)(url))
    missing = [name for name in required if not getattr(engine.guarantees, name)]
    if missing:
        await engine.close()
        raise Unsupported(f"{scheme_of(url)}:// does not guarantee {', '.join(missing)}, which was required")
    return engine


def ender(url_or_scheme: str) -> Ender:
    """What ends sessions of that engine from a process of its own. Imports as little as the engine allows.

    Raises InvalidInput(field="url") for an unknown scheme.
    """
    scheme = scheme_of(url_or_scheme) if "://" in url_or_scheme else url_or_scheme.lower()
    module, _ = _find(scheme)
    return cast(Ender, import_module(f"{module}.ender").make_ender())


async def examine(url: str) -> Examination:
    """What the engine's own `doctor` module knows of the server behind `url`.

    Raises InvalidInput, EngineUnavailable, and Unsupported when the engine has none.
    """
    return cast(Examination, await _part(url, "doctor").examine(url))


async def bump(url: str) -> int:
    """Raise the incarnation of the engine behind `url`, so that tokens from now on are above all that were ever issued there.

    Returns the new one. Raises InvalidInput, EngineUnavailable, OutcomeUnknown, and Unsupported when the engine does not need it.
    """
    return cast(int, await _part(url, "operator").bump(url))


def known_schemes() -> list[str]:
    """The schemes that `connect` takes, ours and the registered ones."""
    return sorted({*BUILT_IN, *_registered()})


def _part(url: str, part: str) -> ModuleType:
    """A module that an engine may have. Raises Unsupported when it does not."""
    module, _ = _find(scheme_of(url))
    if find_spec(f"{module}.{part}") is None:
        raise Unsupported(f"{scheme_of(url)}:// has no {part}")
    return import_module(f"{module}.{part}")


def _find(scheme: str) -> tuple[str, str]:
    """The engine's package and the name of its connect function. Ours come first: nobody can take their names."""
    if scheme in BUILT_IN:
        return BUILT_IN[scheme], "connect"
    try:
        return _registered()[scheme]
    except KeyError:
        raise InvalidInput(
            "url", f"{scheme!r} is no engine known here", f"known: {', '.join(known_schemes())}"
        ) from None


def _registered() -> dict[str, tuple[str, str]]:
    from importlib.metadata import entry_points  # slow to import, and ours do not need it

    found: dict[str, tuple[str, str]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(point.name, (point.module, point.attr))
    return found
