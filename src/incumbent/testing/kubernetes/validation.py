"""What an API server refuses of a Lease, as it comes in: names, labels, annotations, times, the spec. PURE.

The rules are those of `k8s.io/apimachinery` (names and labels, RFC 1123; annotations at most 256 KiB in total) and of
`coordination.k8s.io/v1` (LeaseSpec). What does not decode is 400, what decodes and breaks a rule is 422, as there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

GROUP: Final = "coordination.k8s.io"
API_VERSION: Final = f"{GROUP}/v1"
NAME_CHARS_MAX: Final = 253
LABEL_CHARS_MAX: Final = 63
ANNOTATIONS_BYTES_MAX: Final = 256 * 1024
INT32_MAX: Final = (1 << 31) - 1

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MICRO_TIME: Final = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
_SPEC_FIELDS: Final = {
    "holderIdentity": str,
    "leaseDurationSeconds": int,
    "acquireTime": "time",
    "renewTime": "time",
    "leaseTransitions": int,
    "strategy": str,
    "preferredHolder": str,
}


@dataclass
class Refused(Exception):
    """An answer of the API server that is no success: what its Status body says."""

    code: int
    reason: str
    message: str
    causes: list[dict[str, str]] = field(default_factory=list)
    name: str = ""
    retry_after_s: int | None = None

    def status(self) -> dict[str, Any]:
        details: dict[str, Any] = {"kind": "leases", "group": GROUP}
        if self.name:
            details["name"] = self.name
        if self.causes:
            details["causes"] = self.causes
        if self.retry_after_s is not None:
            details["retryAfterSeconds"] = self.retry_after_s
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }


def decode(body: bytes) -> dict[str, Any]:
    """The Lease in a request's body. Raises Refused(400) for what is no Lease of this version."""
    try:
        lease = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(lease, dict):
        raise bad_request("the body is no object")
    if lease.get("apiVersion") != API_VERSION or lease.get("kind") != "Lease":
        raise bad_request(
            f"the object is {lease.get('apiVersion')}/{lease.get('kind')}, and {API_VERSION}/Lease was expected"
        )
    metadata, spec = lease.setdefault("metadata", {}), lease.setdefault("spec", {})
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise bad_request("metadata and spec are objects")
    for name in ("labels", "annotations"):
        _check_strings(name, metadata.get(name))
    for name in ("name", "namespace", "uid", "resourceVersion", "generateName"):
        if not isinstance(metadata.get(name, ""), str):
            raise bad_request(f"metadata.{name} is no string")
    for name, value in spec.items():
        _check_type(name, value)
    return lease


def check_lease(lease: Mapping[str, Any]) -> None:
    """Raises Refused(422) with every rule that a decoded Lease breaks."""
    metadata, spec = lease["metadata"], lease["spec"]
    causes: list[tuple[str, str]] = []
    name = metadata.get("name", "")
    if not is_subdomain(name):
        causes.append(("metadata.name", f"{name!r} is no lowercase RFC 1123 subdomain"))
    for key, value in (metadata.get("labels") or {}).items():
        if not is_qualified_name(key):
            causes.append(("metadata.labels", f"the key {key!r} is no qualified name"))
        if not is_label_value(value):
            causes.append(("metadata.labels", f"{value!r} is no label value"))
    annotations = metadata.get("annotations") or {}
    causes += [
        ("metadata.annotations", f"the key {key!r} is no qualified name")
        for key in annotations
        if not is_qualified_name(key.lower())
    ]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES_MAX:
        causes.append(("metadata.annotations", f"Too long: must have at most {ANNOTATIONS_BYTES_MAX} bytes"))
    if (spec.get("leaseDurationSeconds") or 1) <= 0 or spec.get("leaseDurationSeconds") == 0:
        causes.append(("spec.leaseDurationSeconds", "must be greater than 0"))
    if (spec.get("leaseTransitions") or 0) < 0:
        causes.append(("spec.leaseTransitions", "must be greater than or equal to 0"))
    if spec.get("preferredHolder") and not spec.get("strategy"):
        causes.append(("spec.preferredHolder", "may only be specified if `strategy` is defined"))
    if causes:
        raise Refused(
            422,
            "Invalid",
            f'Lease.{GROUP} "{name}" is invalid: ' + "; ".join(f"{where}: {what}" for where, what in causes),
            [{"reason": "FieldValueInvalid", "field": where, "message": what} for where, what in causes],
            name,
        )


def is_subdomain(name: str) -> bool:
    return len(name) <= NAME_CHARS_MAX and _SUBDOMAIN.fullmatch(name) is not None


def is_qualified_name(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return (
        (not slash or is_subdomain(prefix))
        and len(name) <= LABEL_CHARS_MAX
        and _QUALIFIED.fullmatch(name) is not None
    )


def is_label_value(value: str) -> bool:
    return value == "" or (len(value) <= LABEL_CHARS_MAX and _QUALIFIED.fullmatch(value) is not None)


def is_micro_time(text: str) -> bool:
    """RFC 3339 with exactly six digits of fraction, as Go's RFC3339Micro reads it."""
    return _MICRO_TIME.fullmatch(text) is not None


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def not_found(name: str) -> Refused:
    return Refused(404, "NotFound", f'leases.{GROUP} "{name}" not found', name=name)


def conflict(name: str, why: str) -> Refused:
    return Refused(
        409, "Conflict", f'Operation cannot be fulfilled on leases.{GROUP} "{name}": {why}', name=name
    )


def expired(message: str) -> Refused:
    return Refused(410, "Expired", message)


def _check_strings(name: str, values: object) -> None:
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise bad_request(f"metadata.{name} is no map of strings")


def _check_type(name: str, value: object) -> None:
    kind = _SPEC_FIELDS.get(name)
    if kind is None:
        raise bad_request(f"spec.{name} is an unknown field")  # as with fieldValidation=Strict
    if value is None:
        return
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INT32_MAX:
            raise bad_request(f"spec.{name}: {value!r} is no int32")
    elif not isinstance(value, str):
        raise bad_request(f"spec.{name}: {value!r} is no string")
    elif kind == "time" and not is_micro_time(value):
        raise bad_request(f"spec.{name}: {value!r} is no MicroTime (2006-01-02T15:04:05.000000Z)")
