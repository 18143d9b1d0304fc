"""``incumbent`` as its next release might be, for tests that run two versions together.

It speaks wire versions 1 and 2, says more in its hello than this release knows, reads commands of level 2, and counts deletions among
those. What it changes, it changes before anything has imported it.
"""

from __future__ import annotations

import msgspec

from incumbent.kv import api
from incumbent.runtime import frames

assert api.LEVEL == frames.WIRE_VERSION_MAX == 1
api.LEVEL = 2  # type: ignore[misc]
api.LEVELS = {api.DeleteRange: 2}  # type: ignore[misc]
frames.WIRE_VERSION_MAX = 2  # type: ignore[misc]
_encode = frames.encode_frame


def _encode_frame(frame: frames.Frame) -> bytes:
    encoded = _encode(frame)
    if not isinstance(frame, frames.Hello):
        return encoded
    said = msgspec.msgpack.decode(encoded[frames.LENGTH_BYTES :])
    body = msgspec.msgpack.encode([*said, "what only the next release knows"])
    return len(body).to_bytes(frames.LENGTH_BYTES, "big") + body


frames.encode_frame = _encode_frame

if __name__ == "__main__":
    from incumbent.cli import main

    raise SystemExit(main())
