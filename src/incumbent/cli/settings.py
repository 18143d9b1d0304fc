"""What `incumbent serve` is told: by flags, by environment variables, by a TOML file; the earlier prevails."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incumbent.cli.options import DEFAULT_CLUSTER, ENVIRONMENT_PREFIX, OPTIONS, TLS_OPTIONS
from incumbent.consensus.api import ReplicaLimits
from incumbent.errors import InvalidInput
from incumbent.node.node import Limits
from incumbent.runtime.access import parse_rules
from incumbent.runtime.config import VoterConfig, timing
from incumbent.runtime.frames import Address
from incumbent.runtime.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Settings:
    voter: VoterConfig
    http: Address | None


def settings(file: str | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Put together what was said. Raises InvalidInput, naming the field."""
    said = _of_file(file)
    for option in OPTIONS:
        from_environment = environment.get(ENVIRONMENT_PREFIX + option.key.upper())
        if from_environment is not None:
            said[option.key] = from_environment
        if flags.get(option.key) is not None:
            said[option.key] = flags[option.key]
    for required in ("node", "data_dir"):
        if not said.get(required):
            raise InvalidInput(
                required, "is missing", f"give --{required.replace('_', '-')} or write it in the file"
            )
    values = {o.key: o.read(o.key, said[o.key]) for o in OPTIONS if o.key in said}
    voter = VoterConfig(
        cluster=values.get("cluster", DEFAULT_CLUSTER),
        node=values["node"],
        data_dir=Path(values["data_dir"]),
        peers=values.get("peers", {}),
        listen=values.get("listen"),
        advertise=values.get("advertise"),
        timing=timing(
            heartbeat_ns=values.get("heartbeat_ms"),
            election_ns=values.get("election_ms"),
            adaptive_ns=values.get("election_ms_max"),
        ),
        limits=_limits(values),
        priority=values.get("priority", 0),
        tls=TlsFiles.of(*(values.get(option.key) for option in TLS_OPTIONS)),
        allow=parse_rules(said.get("allow", [])),
        insecure=values.get("insecure", False),
    )
    return Settings(voter, values.get("http"))


def _limits(values: Mapping[str, Any]) -> Limits:
    """What is said of them; the rest as it is by default."""
    named = ("snapshot_entries", "snapshot_bytes", "history_changes", "history_bytes")
    said = {key: values[key] for key in named if key in values}
    tail = values.get("log_tail_entries", ReplicaLimits().compaction_tail)
    return Limits(replica=ReplicaLimits(compaction_tail=tail), **said)


def _of_file(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(Path(file).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput("config", f"{file} cannot be read: {error}", "give a TOML file") from error
    known = {option.key for option in OPTIONS} | {"allow"}
    for key in content:
        if key not in known:
            raise InvalidInput(
                key, f"is nothing that {file} can say", f"say one of {', '.join(sorted(known))}"
            )
    return content
