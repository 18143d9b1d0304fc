"""The Leases of a fake cluster, and one rising resourceVersion over all of them. Synchronous, no I/O, no clock of its own.

What is kept of the past is what a watch may begin from. `compact` forgets it, and then a watch from there is 410 Gone, as is
a list that goes on with a `continue` token of before.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from incumbent.testing.kubernetes.selectors import Matches
from incumbent.testing.kubernetes.validation import (
    GROUP,
    Refused,
    bad_request,
    check_lease,
    conflict,
    expired,
    not_found,
)

Lease = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
HISTORY_MAX: Final = 10_000
"""Events kept; older ones are compacted."""


@dataclass(frozen=True, slots=True)
class Event:
    revision: int
    kind: str  # ADDED | MODIFIED | DELETED
    lease: Lease
    before: Lease | None


@dataclass
class Store:
    """`replica_lag` is how many revisions the lagging replica's watch cache is behind, for reads with resourceVersion=0."""

    revision: int = 1000
    replica_lag: int = 0
    leases: dict[Key, Lease] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    compacted: int = 1000
    pulse: asyncio.Event = field(default_factory=asyncio.Event)

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, namespace: str, name: str, resource_version: str = "") -> Lease:
        leases = self._at(self._revision_for(resource_version))
        try:
            return copy.deepcopy(leases[namespace, name])
        except KeyError:
            raise not_found(name) from None

    def list_leases(
        self,
        namespace: str,
        matches: Matches,
        resource_version: str = "",
        limit: int = 0,
        continue_from: str = "",
    ) -> Lease:
        revision, after = self._revision_for(resource_version), ""
        if continue_from:
            if resource_version not in ("", "0"):
                raise bad_request("specifying resource version is not allowed when using continue")
            revision, after = _read_continue(continue_from)
            if revision < self.compacted:
                raise expired("The provided continue parameter is too old: list again from the start")
        found = [
            lease
            for (where, name), lease in sorted(self._at(revision).items())
            if where == namespace and name > after and matches(lease)
        ]
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if 0 < limit < len(found):
            metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
            metadata["continue"] = _make_continue(revision, found[-1]["metadata"]["name"])
        return {
            "kind": "LeaseList",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": metadata,
            "items": copy.deepcopy(found),
        }

    def events_after(self, revision: int) -> list[Event]:
        """Raises Refused(410) when some of them are forgotten."""
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted})")
        return [event for event in self.history if event.revision > revision]

    # --- writing --------------------------------------------------------------------------------------------------

    def create(self, namespace: str, lease: Lease) -> Lease:
        metadata = lease["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if metadata.get("namespace") not in (None, "", namespace):
            raise bad_request("the namespace of the object does not match the namespace of the request")
        metadata["namespace"] = namespace
        check_lease(lease)
        name = metadata["name"]
        if (namespace, name) in self.leases:
            raise Refused(409, "AlreadyExists", f'leases.{GROUP} "{name}" already exists', name=name)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._put("ADDED", lease, None)

    def update(self, namespace: str, name: str, lease: Lease) -> Lease:
        metadata = lease["metadata"]
        if metadata.get("name") != name or metadata.get("namespace") not in (None, "", namespace):
            raise bad_request("the name or the namespace of the object does not match those of the URL")
        old = self.leases.get((namespace, name))
        if old is None:
            raise not_found(name)
        check_lease(lease)
        expected = metadata.get("resourceVersion", "")
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise conflict(name, "the uid in the precondition does not match the object's")
        if expected not in ("", old["metadata"]["resourceVersion"]):
            raise conflict(
                name,
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        metadata["namespace"] = namespace
        for kept in ("uid", "creationTimestamp"):
            metadata[kept] = old["metadata"][kept]
        if lease | {"metadata": metadata | {"resourceVersion": ""}} == old | {
            "metadata": old["metadata"] | {"resourceVersion": ""}
        }:
            return copy.deepcopy(old)  # a change that changes nothing is not written, and has no new version
        return self._put("MODIFIED", lease, old)

    def delete(self, namespace: str, name: str, preconditions: Mapping[str, str]) -> Lease:
        old = self.leases.get((namespace, name))
        if old is None:
            raise not_found(name)
        for what in ("uid", "resourceVersion"):
            wanted = preconditions.get(what)
            if wanted is not None and wanted != old["metadata"][what]:
                raise conflict(
                    name,
                    f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: other",
                )
        self.revision += 1
        del self.leases[namespace, name]
        gone = copy.deepcopy(old)
        gone["metadata"]["resourceVersion"] = str(self.revision)
        self._remember(Event(self.revision, "DELETED", gone, old))
        return gone

    def compact(self) -> None:
        """Forget the past: watches from before and `continue` tokens are 410 Gone."""
        self.history.clear()
        self.compacted = self.revision
        self.wake()

    def turn_back(self, revision: int) -> None:
        """What restoring an older backup of etcd does: the objects and the revision are as they were then."""
        if revision < self.compacted:
            raise ValueError(f"revision {revision} is forgotten; the oldest kept is {self.compacted}")
        self.leases = self._at(revision)
        self.revision = revision
        self.history = [event for event in self.history if event.revision <= revision]
        self.wake()

    def wake(self) -> None:
        self.pulse.set()
        self.pulse = asyncio.Event()

    # --- within ---------------------------------------------------------------------------------------------------

    def _put(self, kind: str, lease: Lease, before: Lease | None) -> Lease:
        self.revision += 1
        stored = copy.deepcopy(lease)
        stored["metadata"]["resourceVersion"] = str(self.revision)
        self.leases[stored["metadata"]["namespace"], stored["metadata"]["name"]] = stored
        self._remember(Event(self.revision, kind, stored, before))
        return copy.deepcopy(stored)

    def _remember(self, event: Event) -> None:
        self.history.append(event)
        if len(self.history) > HISTORY_MAX:
            self.compacted = self.history[HISTORY_MAX // 2].revision
            self.history = self.history[HISTORY_MAX // 2 + 1 :]
        self.wake()

    def _revision_for(self, resource_version: str) -> int:
        """ "" is the newest (a quorum read); "0" is whatever the watch cache has; a number is at least as new as that."""
        if resource_version == "":
            return self.revision
        if not (resource_version.isascii() and resource_version.isdecimal()):
            raise bad_request(f"{resource_version!r} is no resource version")
        if int(resource_version) > self.revision:
            raise Refused(504, "Timeout", f"Too large resource version: {resource_version}", retry_after_s=1)
        stale = max(self.revision - self.replica_lag, self.compacted)
        return max(stale, int(resource_version))

    def _at(self, revision: int) -> dict[Key, Lease]:
        """The Leases as they were at a revision that is still remembered."""
        leases = dict(self.leases)
        for event in reversed(self.history):
            if event.revision <= revision:
                break
            key = (event.lease["metadata"]["namespace"], event.lease["metadata"]["name"])
            if event.before is None:
                del leases[key]
            else:
                leases[key] = event.before
        return leases


def _make_continue(revision: int, name: str) -> str:
    return base64.urlsafe_b64encode(
        json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": name}).encode()
    ).decode()


def _read_continue(token: str) -> tuple[int, str]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token))
        return int(read["rv"]), str(read["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("the continue token is not valid") from error
