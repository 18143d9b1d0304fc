"""What our Leases look like: names, labels, annotations, and times. PURE but for the wall clock that people read.

    incumbent-s-<session>              a session: alive as long as its renewTime keeps changing. Deleted = over
    incumbent-m-<group>-<session>      a member, of one session and one group; owned by its session
    <group>, or incumbent-e-<group>    the election: holderIdentity, as client-go keeps it; our token; the table of cells
    incumbent-b-<attempt>-<n>          a piece of a large cell; never changed
    incumbent-incarnation              how often the cluster was restored, as the operator says

<group> and <session> are SHA-256 in base32, so that any two names differ (P5). A group whose name is a DNS subdomain, and does
not begin like ours, is its own Lease's name: there client-go's candidates find it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from incumbent.errors import Unsupported

Lease = dict[str, Any]
API_VERSION: Final = "coordination.k8s.io/v1"
OURS: Final = "incumbent-"
SESSION: Final = "incumbent-s-"
MEMBER: Final = "incumbent-m-"
ELECTION: Final = "incumbent-e-"
BLOB: Final = "incumbent-b-"
INCARNATION: Final = "incumbent-incarnation"

IN: Final = "incumbent/in"  # labels: the group, or what all groups read
KIND: Final = "incumbent/kind"
OF: Final = "incumbent/session"
COMMON: Final = "common"

DURATION: Final = "incumbent/duration-ns"  # annotations: of a session, ttl + release_delay
ENDING: Final = "incumbent/ending"
SESSION_UID: Final = "incumbent/session-uid"
JOINED: Final = "incumbent/joined"
VALUE: Final = "incumbent/value"
GROUP: Final = "incumbent/group"
HOLDER: Final = "incumbent/holder"
TOKEN: Final = "incumbent/token"  # noqa: S105
LEFT: Final = "incumbent/left"
CELLS: Final = "incumbent/cells"
NUMBER: Final = "incumbent/number"

NS: Final = 1_000_000_000
FOREIGN_DURATION_NS: Final = 15 * NS
"""For a foreign holder that says nothing of how long it is to be waited for: client-go's own default."""
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_CHARS_MAX: Final = 253
_MEMBER_NAME: Final = re.compile(r"incumbent-m-([a-z2-7]{52})-([a-z2-7]{26})")

EVERYTHING_BUT_BLOBS: Final = f"{KIND} notin (blob)"


def hashed(text: str) -> str:
    """52 characters that a name and a label's value may hold; no two texts share them."""
    return _base32(hashlib.sha256(text.encode()).digest())


def group_selector(group: str) -> str:
    """The members and the election of a group, all sessions, and the incarnation, in one list at one revision."""
    return f"{IN} in ({hashed(group)},{COMMON}),{EVERYTHING_BUT_BLOBS}"


def election_name(group: str) -> str:
    if len(group) <= _SUBDOMAIN_CHARS_MAX and not group.startswith(OURS) and _SUBDOMAIN.fullmatch(group):
        return group
    return ELECTION + hashed(group)


def session_name(request_id: str) -> str:
    return SESSION + _base32(hashlib.sha256(request_id.encode(errors="surrogatepass")).digest()[:16])


def member_name(group: str, session: str) -> str:
    return f"{MEMBER}{hashed(group)}-{session.removeprefix(SESSION)}"


def session_of_member(group: str, name: str) -> str | None:
    """The session's name, when `name` is a member of `group` and ours."""
    match = _MEMBER_NAME.fullmatch(name)
    return SESSION + match[2] if match is not None and match[1] == hashed(group) else None


def identity(member: str, revision: int) -> str:
    """The holderIdentity of a member: no re-join has the same."""
    return f"{member}/{revision}"


def holder_of(election: Lease) -> str:
    """The member that holds it, as `identity`; "" when nobody or a foreign candidate does. A foreign candidate leaves our
    annotations as they are, so both must agree."""
    holder = spec(election, "holderIdentity") or ""
    return holder if holder and notes(election).get(HOLDER) == holder else ""


def token_of(election: Lease) -> int:
    """The token of the last of ours that acquired it; 0 when there was none."""
    text = notes(election).get(TOKEN, "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def left_of(election: Lease) -> str:
    """The member that let go of it last, as `identity`, when letting go was its leaving: no claim of it counts any more."""
    return notes(election).get(LEFT, "")


# --- parts of a Lease -------------------------------------------------------------------------------------------------


def name_of(lease: Lease) -> str:
    return str(lease["metadata"]["name"])


def uid_of(lease: Lease) -> str:
    return str(lease["metadata"]["uid"])


def version_of(lease: Lease) -> int:
    return as_revision(lease["metadata"]["resourceVersion"])


def as_revision(text: object) -> int:
    """A resourceVersion as the integer that it is on every API server backed by etcd.

    Raises Unsupported where it is none: then neither order nor tokens can be made of it.
    """
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    raise Unsupported(
        f"this API server's resourceVersions are no integers ({text!r}), so no token can be made of them"
    )


def labels(lease: Lease) -> Mapping[str, str]:
    found: Mapping[str, str] = lease["metadata"].get("labels") or {}
    return found


def notes(lease: Lease) -> Mapping[str, str]:
    found: Mapping[str, str] = lease["metadata"].get("annotations") or {}
    return found


def spec(lease: Lease, field: str) -> Any:
    return (lease.get("spec") or {}).get(field)


def has_joined(member: Lease) -> bool:
    """Whether the revision at which it was created is written down."""
    return JOINED in notes(member)


def joined_of(member: Lease) -> int:
    """The revision at which it was created; until that is written down, its version."""
    joined = notes(member).get(JOINED)
    return version_of(member) if joined is None else as_revision(joined)


def value_of(member: Lease) -> bytes:
    return base64.b64decode(notes(member).get(VALUE, ""))


def encode_value(value: bytes) -> str:
    return base64.b64encode(value).decode()


def session_uid_of(member: Lease) -> str:
    return notes(member).get(SESSION_UID, "")


def is_ending(lease: Lease) -> bool:
    return ENDING in notes(lease)


def duration_ns(lease: Lease) -> int:
    """How long it must be silent: the holder's own duration, never ours (P15)."""
    ours = notes(lease).get(DURATION, "")
    if labels(lease).get(KIND) == "session" and ours.isdecimal():
        return int(ours)
    seconds = spec(lease, "leaseDurationSeconds")
    return FOREIGN_DURATION_NS if seconds is None else int(seconds) * NS


# --- new Leases, and changed ones -------------------------------------------------------------------------------------


def new_lease(
    name: str, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Mapping[str, Any]
) -> Lease:
    return {
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)},
        "spec": dict(spec),
    }


def changed(
    lease: Lease,
    *,
    labels: Mapping[str, str | None] | None = None,
    annotations: Mapping[str, str | None] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Lease:
    """A copy with some things changed, None removes; all that others put there stays. It carries the version it is based on."""
    metadata = dict(lease["metadata"])
    for field, changes in (("labels", labels), ("annotations", annotations)):
        if changes:
            merged = {**(metadata.get(field) or {}), **changes}
            metadata[field] = {key: value for key, value in merged.items() if value is not None}
    return {**lease, "metadata": metadata, "spec": {**(lease.get("spec") or {}), **(spec or {})}}


def new_session(name: str, duration_ns: int) -> Lease:
    now = micro_time()
    return new_lease(
        name,
        {IN: COMMON, KIND: "session"},
        {DURATION: str(duration_ns)},
        {
            "holderIdentity": name,
            "leaseDurationSeconds": whole_seconds(duration_ns),
            "acquireTime": now,
            "renewTime": now,
        },
    )


def new_member(group: str, session: str, session_uid: str, value: bytes) -> Lease:
    lease = new_lease(
        member_name(group, session),
        {IN: hashed(group), KIND: "member", OF: session},
        {GROUP: json.dumps(group), SESSION_UID: session_uid, VALUE: encode_value(value)},
        {},
    )
    # The garbage collector removes what a late request creates after its session is gone.
    owner = {"apiVersion": API_VERSION, "kind": "Lease", "name": session, "uid": session_uid}
    lease["metadata"]["ownerReferences"] = [owner]
    return lease


def new_election(group: str) -> Lease:
    return new_lease(
        election_name(group), election_labels(group), {GROUP: json.dumps(group)}, {"leaseTransitions": 0}
    )


def election_labels(group: str) -> dict[str, str]:
    return {IN: hashed(group), KIND: "election"}


def group_of(lease: Lease) -> str:
    return str(json.loads(notes(lease)[GROUP]))


def acquired(election: Lease, group: str, session: str, holder: str, token: int, duration_ns: int) -> Lease:
    now = micro_time()
    return changed(
        election,
        labels={**election_labels(group), OF: session},
        annotations={GROUP: json.dumps(group), HOLDER: holder, TOKEN: str(token)},
        spec={
            "holderIdentity": holder,
            "leaseDurationSeconds": whole_seconds(duration_ns),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": (spec(election, "leaseTransitions") or 0) + 1,
        },
    )


def released(election: Lease, left: str = "") -> Lease:
    """As client-go lets go: nobody, and a second to wait for those who do not understand an empty holder. `left`: who leaves by it."""
    now = micro_time()
    return changed(
        election,
        labels={OF: None},
        annotations={HOLDER: None, **({LEFT: left} if left else {})},
        spec={"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now},
    )


def renewed(lease: Lease) -> Lease:
    """Another renewTime: that it changes is what the others go by, not what it says."""
    now = micro_time()
    if spec(lease, "renewTime") == now:
        now = micro_time(microseconds_later=1)
    return changed(lease, spec={"renewTime": now})


def whole_seconds(duration_ns: int) -> int:
    """What foreign candidates wait: never less."""
    return max(1, -(-duration_ns // NS))


def micro_time(*, microseconds_later: int = 0) -> str:
    """Wall time for people; nothing is decided by it."""
    now = datetime.now(UTC)
    later = now.replace(microsecond=(now.microsecond + microseconds_later) % 1_000_000)
    return later.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _base32(digest: bytes) -> str:
    return base64.b32encode(digest).decode().rstrip("=").lower()
