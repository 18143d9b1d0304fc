"""Faults of engines, fences, wires and recipes: of what no simulated voter has."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

FRAMES: Final = "runtime/frames.py"
DIRECTORY: Final = "engines/local/directory.py"
LOCAL_INPUT: Final = "tests/engines/test_local_input.py"
REDIS_INPUT: Final = "tests/engines/test_redis_input.py"
POSTGRES_SILENCE: Final = "tests/engines/test_postgres_silence.py"
LOCAL_PROCESSES: Final = "tests/engines/test_local_processes.py"

ENGINES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the fence lets everybody through",
        "fencing/sqlite.py",
        "if token >= highest:",
        "if token >= 0:",
        (suite("tests/fencing/test_sqlite.py"),),
        promises=("P14", "P33", "P34"),
    ),
    Mutant(
        "a claim does not look at who came before",
        "engines/cluster/members.py",
        "Condition(key, Compare.CREATE, Is.GREATER, member.revision - 1, end),",
        "",
        (suite("tests/engines/test_cluster_conformance_memory.py"),),
        promises=("P7",),
    ),
    Mutant(
        "a raised incarnation ends no term",
        "engines/cluster/members.py",
        "        Condition(INCARNATION_KEY, Compare.MOD, Is.LESS, member.revision),\n",
        "",
        (suite("tests/engines/test_cluster_engine.py"),),
        promises=("P31",),
    ),
    Mutant(
        "tokens of a restored engine begin anew",
        "ids.py",
        "    return Token(incarnation << TOKEN_NATIVE_BITS | native)",
        "    return Token(native)",
        (suite("tests/test_ids.py"),),
        promises=("P31", "P35"),
    ),
    Mutant(
        "a deleted directory begins with the revision one",
        DIRECTORY,
        "    return max(floor_of(directory) + 1, time.time_ns() // 1000)",
        "    return 1",
        (suite(LOCAL_PROCESSES),),
        promises=("P30", "P32"),
    ),
    Mutant(
        "a network file system is as good as any",
        DIRECTORY,
        "    if kind in NETWORK_FILE_SYSTEMS:",
        "    if False:",
        (suite(LOCAL_INPUT),),
        promises=("P50",),
    ),
    Mutant(
        "a pid alone names a process",
        "engines/local/holder.py",
        "        if ticks is not None and ticks != self.start_ticks:",
        "        if False:",
        (suite(LOCAL_PROCESSES),),
        promises=("P50",),
    ),
    Mutant(
        "times of another boot pass for times of this one",
        "engines/local/boot.py",
        "    return Boot(boot_id(), namespace)",
        '    return Boot("", namespace)',
        (suite(LOCAL_INPUT, LOCAL_PROCESSES),),
        promises=("P50",),
    ),
    Mutant(
        "a forked child uses its parent's engine",
        "engines/local/engine.py",
        "        if os.getpid() != self._pid:\n            raise Unsupported(",
        "        if False:\n            raise Unsupported(",
        (suite(LOCAL_PROCESSES),),
        promises=("P75",),
    ),
    Mutant(
        "a frame of any length is waited for",
        FRAMES,
        '            raise ProtocolViolation(f"a frame says it has {length} bytes, the limit is {self.bytes_max}")',
        "            pass",
        (suite("tests/runtime/test_frames.py"),),
        promises=("P77",),
    ),
    Mutant(
        "a malformed frame raises whatever the decoder raises",
        FRAMES,
        '        raise ProtocolViolation(f"a frame of {len(body)} bytes is malformed: {error}") from error',
        "        raise error",
        (suite("tests/runtime/test_frames.py", "tests/runtime/test_transport.py"),),
        promises=("P77",),
    ),
    Mutant(
        "what is not text in a message stops the voter",
        "consensus/raft/messages.py",
        "    except UnicodeDecodeError as error:",
        "    except ZeroDivisionError as error:",
        (suite("tests/consensus/test_parts.py"),),
        promises=("P77",),
    ),
    Mutant(
        "entries of an append may leave gaps",
        "consensus/raft/messages.py",
        "        if entry.index != index + 1 or not term <= entry.term <= message.term:",
        "        if False:",
        (suite("tests/consensus/test_parts.py"),),
        promises=("P77",),
    ),
    Mutant(
        "the owner of a key hangs on the order of nodes",
        "recipes/view.py",
        "        return max(self.nodes, key=lambda node: (_draw(key, node), node), default=None)",
        "        return self.nodes[_draw(key, '') % len(self.nodes)] if self.nodes else None",
        (suite("tests/recipes/test_view.py"),),
        promises=("P66", "P68"),
    ),
    Mutant(
        "silence counts from before the session was seen",
        "engines/postgres/sightings.py",
        "        self._seen[session] = Sighting(session, beats, server, now_ns + lasts_ns)",
        "        self._seen[session] = Sighting(session, beats, server, lasts_ns)",
        (suite(POSTGRES_SILENCE),),
        promises=("P15", "P17", "P45"),
    ),
    Mutant(
        "what was seen before a promotion proves silence after it",
        "engines/postgres/sightings.py",
        "before.server == server and before.beats >= beats:",
        "before.beats >= beats:",
        (suite(POSTGRES_SILENCE),),
        promises=("P45",),
    ),
    Mutant(
        "an older copy of the database is led on",
        "engines/history.py",
        "        elif here < floor:",
        "        elif False:",
        (suite(POSTGRES_SILENCE), suite(REDIS_INPUT)),
        promises=("P31", "P45", "P46"),
    ),
    Mutant(
        "Redis passes for fenced unasked",
        "engines/redis/guarantees.py",
        "survives_pause=True) if advisory else GUARANTEES",
        "survives_pause=True)",
        (suite(REDIS_INPUT),),
        promises=("P46",),
    ),
)
