"""The tables. Times are BOOTTIME nanoseconds and mean something in one boot only; `meta` says which."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x696E6362  # "incb", in the file's header: how we know our own
FORMAT: Final = 1

SCHEMA: Final = """
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    uuid BLOB NOT NULL,
    revision INTEGER NOT NULL,         -- rises with every change; never falls
    forgotten INTEGER NOT NULL,        -- a group without a row in `changed` last changed at or before this
    boot TEXT NOT NULL,
    time_namespace TEXT NOT NULL       -- BOOTTIME has an offset of its own in each
);
CREATE TABLE note (revision INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE session (
    secret BLOB PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    ttl_ns INTEGER NOT NULL,
    release_delay_ns INTEGER NOT NULL,
    ends_ns INTEGER NOT NULL,          -- the last renewal + ttl + release delay; after proof of death: proof + delay
    dead INTEGER NOT NULL DEFAULT 0,   -- 1 = its process is proven dead, and ends_ns stands
    pid INTEGER NOT NULL,
    start_ticks INTEGER NOT NULL,
    pid_namespace TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_ends ON session (ends_ns);
CREATE TABLE member (
    group_name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    secret BLOB NOT NULL REFERENCES session,
    value BLOB NOT NULL,
    PRIMARY KEY (group_name, revision)
) WITHOUT ROWID;
CREATE UNIQUE INDEX member_session ON member (secret, group_name);
CREATE TABLE changed (group_name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE cell (
    group_name TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB,                        -- NULL = deleted; the row stays, for its version
    version INTEGER NOT NULL,
    PRIMARY KEY (group_name, name)
);
"""
