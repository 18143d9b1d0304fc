"""Label and field selectors of a list or a watch. PURE."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from incumbent.testing.kubernetes.validation import bad_request, is_label_value, is_qualified_name

Matches = Callable[[Mapping[str, Any]], bool]
_SET: Final = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL: Final = re.compile(r"([^\s=!]+)\s*(==|=|!=)\s*(\S*)")
_SPLIT: Final = re.compile(r",(?![^(]*\))")


def selector(labels: str, fields: str) -> Matches:
    """Whether a Lease is selected. Raises Refused(400) for what cannot be read."""
    by_label = [_requirement(text.strip()) for text in _SPLIT.split(labels)] if labels else []
    by_field = [_field(text.strip()) for text in fields.split(",")] if fields else []

    def matches(lease: Mapping[str, Any]) -> bool:
        metadata = lease["metadata"]
        own: Mapping[str, str] = metadata.get("labels") or {}
        return all(holds(own) for holds in by_label) and all(
            (metadata.get(name) == value) == wanted for name, value, wanted in by_field
        )

    return matches


def _requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(text):
        key, operator, listed = match.groups()
        values = {_value(value.strip()) for value in listed.split(",")}
        _key(key)
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        _key(key)
        _value(value)
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    absent, key = text.startswith("!"), text.removeprefix("!")
    _key(key)
    return lambda labels: (key in labels) is not absent


def _field(text: str) -> tuple[str, str, bool]:
    match = _EQUAL.fullmatch(text)
    if match is None or match[1] not in ("metadata.name", "metadata.namespace"):
        raise bad_request(f"the field selector {text!r} is not supported")
    return match[1].removeprefix("metadata."), match[3], match[2] != "!="


def _key(key: str) -> None:
    if not is_qualified_name(key):
        raise bad_request(f"the label selector's key {key!r} is no qualified name")


def _value(value: str) -> str:
    if not is_label_value(value):
        raise bad_request(f"the label selector's value {value!r} is no label value")
    return value
