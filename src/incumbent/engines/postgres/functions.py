"""Every operation as a function of the schema, so that it costs one trip and one commit. How locks are ordered: see `schema`.

In READ COMMITTED each statement of a function sees all that was committed before that statement, as in a transaction of several
trips: what is read under a group's lock is what whoever had it before has left. The functions take no rights that the caller
has not, and find their tables by the caller's search path, which is set with each call (`pool`).

Their names end in a digest of their text, so that each release calls the functions that it was written with, and releases of one
format run side by side. Each gives one row: the head (`pool.Head`), `said` (why it did nothing; NULL: it did it), then what is its own.
"""

# ruff: noqa: S608  - these texts are ours: values come in as the functions' arguments

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

_HEAD_COLUMNS: Final = (
    "r_uuid text, r_incarnation integer, r_timeline bigint, r_flushed bigint, r_started text, r_said text"
)
_HEAD: Final = """
    SELECT m.uuid::text, m.incarnation,
           ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::bigint, (lsn - '0/0'::pg_lsn)::bigint,
           extract(epoch FROM pg_postmaster_start_time())::text
    INTO STRICT r_uuid, r_incarnation, r_timeline, r_flushed, r_started
    FROM meta m, pg_current_wal_flush_lsn() AS lsn;
"""
_NEED: Final = "p_uuid text, p_incarnation integer, p_timeline bigint, p_flushed bigint"
_CHECK_NEED: Final = """
    -- Not on a server that went back (`memory`): then nothing is done at all.
    IF (r_incarnation, r_timeline, r_flushed) < (p_incarnation, p_timeline, p_flushed)
       OR (p_uuid NOT IN ('', r_uuid) AND r_incarnation <= p_incarnation) THEN
        r_said := 'back';
        RETURN;
    END IF;
"""
_CHANGE: Final = """
    UPDATE team SET changes = changes + 1 WHERE name = p_team
    RETURNING changes, pg_notify(current_schema(), name) INTO r_changes, v_nothing;
"""
"""Under the group's lock: raise what watches go by, and wake them at the commit."""
_FIND_FIRST: Final = """
    -- One statement, so one state: every member that came before is in it, since they were committed in that order.
    SELECT string_agg(concat_ws(',', revision, encode(id, 'hex'), beats, ttl_ns + delay_ns), ' ' ORDER BY revision)
               FILTER (WHERE revision < r_revision),
           max(incarnation) FILTER (WHERE revision = r_revision)
    INTO r_ahead, r_own
    FROM (
        (SELECT * FROM member WHERE team = p_team AND revision <= r_revision ORDER BY revision LIMIT p_near)
        UNION
        (SELECT * FROM member WHERE team = p_team AND revision <= r_revision ORDER BY revision DESC LIMIT p_near + 1)
    ) AS near JOIN session ON id = session;
    IF r_own IS NULL THEN
        r_said := 'member';
        RETURN;
    END IF;
"""
_FIND_CELL: Final = """
    -- After the claim was decided: whatever was written before it was made is in it.
    IF r_ahead IS NULL AND p_cell IS NOT NULL THEN
        SELECT encode(value, 'hex'), version INTO r_value, r_version FROM cell WHERE team = p_team AND name = p_cell;
    END IF;
"""
_CLAIMED: Final = (
    "r_changes bigint, r_revision bigint, r_own smallint, r_ahead text, r_value text, r_version bigint"
)


@dataclass(frozen=True, slots=True)
class Function:
    given: str
    found: str
    body: str
    variables: str = ""

    def create(self, name: str) -> str:
        found = ", ".join(f"OUT {column}" for column in f"{_HEAD_COLUMNS}, {self.found}".split(", "))
        return (
            f"CREATE FUNCTION {name}({self.given}, {found}) LANGUAGE plpgsql AS $function$\n"
            f"DECLARE v_nothing text; {self.variables}\nBEGIN{_HEAD}{self.body}END\n$function$;\n"
        )


_FUNCTIONS: Final = {
    "open_session": Function(
        "p_session bytea, p_ttl bigint, p_delay bigint",
        "r_beats bigint, r_ttl bigint, r_delay bigint, r_own smallint",
        """
    INSERT INTO session AS s VALUES (p_session, p_ttl, p_delay, 1, r_incarnation)
    ON CONFLICT (id) DO UPDATE SET beats = s.beats + 1
    RETURNING s.beats, s.ttl_ns, s.delay_ns, s.incarnation INTO r_beats, r_ttl, r_delay, r_own;
""",
    ),
    "renew": Function(
        f"p_session bytea, {_NEED}",
        "r_beats bigint, r_lasts bigint",
        _CHECK_NEED
        + """
    UPDATE session SET beats = beats + 1 WHERE id = p_session AND incarnation = r_incarnation
    RETURNING beats, ttl_ns + delay_ns INTO r_beats, r_lasts;
    IF NOT FOUND THEN
        PERFORM FROM session WHERE id = p_session;
        r_said := CASE WHEN FOUND THEN 'incarnation' ELSE 'session' END;
    END IF;
""",
    ),
    # Those that are there and, where `p_beats` names a counter, have that one, on that server. All their members leave in this step.
    "end_sessions": Function(
        "p_sessions bytea[], p_beats bigint[], p_servers text[]",
        "r_ended bigint",
        """
    FOR v_found IN SELECT id, beats FROM session WHERE id = ANY(p_sessions) ORDER BY id FOR UPDATE LOOP
        v_place := array_position(p_sessions, v_found.id);
        IF (p_beats[v_place] IS NULL OR p_beats[v_place] = v_found.beats)
           AND (p_servers[v_place] IS NULL OR p_servers[v_place] = concat_ws(' ', r_uuid, r_timeline, r_started)) THEN
            v_over := v_over || v_found.id;
        END IF;
    END LOOP;
    r_ended := cardinality(v_over);
    IF r_ended = 0 THEN
        RETURN;
    END IF;
    -- Nobody joins with them any more: that would have to lock them too.
    v_teams := ARRAY(SELECT DISTINCT team FROM member WHERE session = ANY(v_over));
    PERFORM FROM team WHERE name = ANY(v_teams) ORDER BY name FOR UPDATE;
    DELETE FROM session WHERE id = ANY(v_over);
    FOR v_found IN UPDATE team SET changes = changes + 1 WHERE name = ANY(v_teams) RETURNING name LOOP
        PERFORM pg_notify(current_schema(), v_found.name);
    END LOOP;
""",
        "v_found record; v_place integer; v_over bytea[] := '{}'; v_teams text[];",
    ),
    # Join and claim. `r_before`: how much had happened in the group before.
    "stand": Function(
        "p_session bytea, p_team text, p_value bytea, p_cell text, p_near integer",
        f"{_CLAIMED}, r_before bigint",
        """
    SELECT incarnation INTO r_own FROM session WHERE id = p_session FOR KEY SHARE;
    IF NOT FOUND THEN
        r_said := 'session';
        RETURN;
    ELSIF r_own <> r_incarnation THEN
        r_said := 'incarnation';
        RETURN;
    END IF;
    SELECT revision INTO r_revision FROM member WHERE session = p_session AND team = p_team;
    IF NOT FOUND THEN
        UPDATE team SET joins = joins + 1, changes = changes + 1 WHERE name = p_team
        RETURNING joins, changes, changes - 1, pg_notify(current_schema(), name)
        INTO r_revision, r_changes, r_before, v_nothing;
        IF NOT FOUND THEN
            INSERT INTO team (name) VALUES (p_team) ON CONFLICT DO NOTHING;
            UPDATE team SET joins = joins + 1, changes = changes + 1 WHERE name = p_team
            RETURNING joins, changes, changes - 1, pg_notify(current_schema(), name)
            INTO r_revision, r_changes, r_before, v_nothing;
        END IF;
        -- It conflicts when the same was asked twice at once and the other was faster: then the number is nobody's.
        INSERT INTO member VALUES (p_team, r_revision, p_session, p_value) ON CONFLICT (session, team) DO NOTHING;
        IF FOUND THEN
            -- Under the group's lock: all who came before have committed, and nobody has come since.
            v_alone := NOT EXISTS (SELECT FROM member WHERE team = p_team AND revision < r_revision);
        ELSE
            SELECT revision INTO r_revision FROM member WHERE session = p_session AND team = p_team;
        END IF;
    ELSE
        SELECT changes, changes INTO r_changes, r_before FROM team WHERE name = p_team;
    END IF;
    IF NOT v_alone THEN
"""
        + _FIND_FIRST
        + """
    END IF;
"""
        + _FIND_CELL,
        "v_alone boolean := false;",
    ),
    "claim": Function(
        "p_team text, p_revision bigint, p_cell text, p_near integer",
        _CLAIMED,
        """
    r_revision := p_revision;
    SELECT changes INTO r_changes FROM team WHERE name = p_team;
"""
        + _FIND_FIRST
        + _FIND_CELL,
    ),
    "update": Function(
        "p_team text, p_revision bigint, p_value bytea",
        "r_changes bigint",
        f"""
    PERFORM FROM team WHERE name = p_team FOR UPDATE;
    UPDATE member SET value = p_value WHERE team = p_team AND revision = p_revision;
    IF NOT FOUND THEN
        r_said := 'member';
        RETURN;
    END IF;
    {_CHANGE}
""",
    ),
    "remove": Function(
        "p_team text, p_revision bigint",
        "r_changes bigint",
        f"""
    PERFORM FROM team WHERE name = p_team FOR UPDATE;
    DELETE FROM member WHERE team = p_team AND revision = p_revision;
    IF NOT FOUND THEN
        r_said := 'member';
        RETURN;
    END IF;
    {_CHANGE}
""",
    ),
    "roster": Function(
        "p_team text",
        "r_changes bigint, r_members text",
        """
    SELECT changes INTO r_changes FROM team WHERE name = p_team;
    SELECT string_agg(
        concat_ws(',', revision, encode(id, 'hex'), beats, ttl_ns + delay_ns, incarnation, encode(value, 'hex')),
        ' ' ORDER BY revision
    ) INTO r_members FROM member JOIN session ON id = session WHERE team = p_team;
""",
    ),
    "peek": Function(
        "p_team text",
        "r_changes bigint",
        """
    SELECT changes INTO r_changes FROM team WHERE name = p_team;
""",
    ),
    "read_cell": Function(
        "p_team text, p_name text",
        "r_value text, r_version bigint",
        """
    SELECT encode(value, 'hex'), version INTO r_value, r_version FROM cell WHERE team = p_team AND name = p_name;
""",
    ),
    # With `p_first`: only while that member is first. `p_changes`: how much is known to have happened in the group.
    "write_cells": Function(
        f"p_team text, p_names text[], p_values bytea[], p_expected bigint[], p_first bigint, p_changes bigint, {_NEED}",
        "r_changes bigint, r_name text, r_version bigint",
        """
    SELECT changes INTO r_changes FROM team WHERE name = p_team FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO team (name) VALUES (p_team) ON CONFLICT DO NOTHING;
        SELECT changes INTO r_changes FROM team WHERE name = p_team FOR UPDATE;
    END IF;
    IF p_first IS NOT NULL THEN"""
        + _CHECK_NEED
        + """
        IF r_changes < p_changes THEN
            r_said := 'lacking';
            RETURN;
        END IF;
        -- The group's lock holds the member's own row, too: nobody ends the session without it.
        SELECT m.revision, s.incarnation INTO v_first, v_own FROM member m JOIN session s ON s.id = m.session
        WHERE m.team = p_team ORDER BY m.revision LIMIT 1;
        IF v_first IS DISTINCT FROM p_first THEN
            r_said := 'first';
            RETURN;
        ELSIF v_own <> r_incarnation THEN
            r_said := 'incarnation';
            RETURN;
        END IF;
    END IF;
    SELECT w.name, coalesce(c.version, 0) INTO r_name, r_version
    FROM unnest(p_names, p_expected) AS w(name, expected) LEFT JOIN cell c ON c.team = p_team AND c.name = w.name
    WHERE w.expected <> coalesce(c.version, 0) LIMIT 1;
    IF FOUND THEN
        r_said := 'version';
        RETURN;
    END IF;"""
        + _CHANGE
        + """
    INSERT INTO cell SELECT p_team, w.name, w.value, r_changes FROM unnest(p_names, p_values) AS w(name, value)
    ON CONFLICT (team, name) DO UPDATE SET value = excluded.value, version = excluded.version;
""",
        "v_first bigint; v_own smallint;",
    ),
    "bump": Function(
        "p_most integer",
        "r_raised integer",
        """
    UPDATE meta SET incarnation = incarnation + 1 WHERE incarnation < p_most RETURNING incarnation INTO r_raised;
    IF NOT FOUND THEN
        r_said := 'used up';
        RETURN;
    END IF;
    -- Who leads asks whether it still does when its group changes, so this ends terms before their next renewal does.
    PERFORM FROM team ORDER BY name FOR UPDATE;
    FOR v_team IN UPDATE team SET changes = changes + 1 RETURNING name LOOP
        PERFORM pg_notify(current_schema(), v_team);
    END LOOP;
""",
        "v_team text;",
    ),
}
_DIGEST: Final = hashlib.sha256(
    "".join(function.create("") for function in _FUNCTIONS.values()).encode()
).hexdigest()[:8]


def function(operation: str) -> str:
    """Its name in the database."""
    return f"{operation}_{_DIGEST}"


def create() -> str:
    """The statements that make all of them, in the schema that is first in the search path."""
    return "".join(text.create(function(operation)) for operation, text in _FUNCTIONS.items())


ANY: Final = function("stand")
"""Where this one is, all of them are: they are made in one transaction."""
