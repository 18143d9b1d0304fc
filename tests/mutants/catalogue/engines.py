"""Faults of engines, fences, wires and recipes: of what no simulated voter has."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

FRAMES: Final = "runtime/frames.py"
DIRECTORY: Final = "engines/local/directory.py"
LOCAL_INPUT: Final = "tests/engines/test_local_input.py"
LOCAL_PROCESSES: Final = "tests/engines/test_local_processes.py"
ZOOKEEPER: Final = "tests/engines/test_zookeeper_engine.py"

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
        "a renewal writes over the connection that is there",
        "engines/zookeeper/attendant.py",
        "        self._visit = await self._attach()\n        if former is not None:\n            former.close()\n",
        "        self._visit = former or await self._attach()\n",
        (suite("tests/engines/test_zookeeper_partitions.py"),),
        promises=("P47",),
    ),
    Mutant(
        "whoever is named like a session's member is its member",
        "engines/zookeeper/sessions.py",
        "            if stat is not None and stat.ephemeralOwner & ((1 << 64) - 1) == reference.session:",
        "            if stat is not None:",
        (suite(ZOOKEEPER),),
        promises=("P47",),
    ),
    Mutant(
        "candidates of another layout are overlooked",
        "engines/zookeeper/layout.py",
        "        elif _SEQUENTIAL.search(name):",
        "        elif False:",
        (suite(ZOOKEEPER),),
    ),
    Mutant(
        "a sequence that has run over is a number like others",
        "engines/zookeeper/layout.py",
        "    if not 0 <= sequence < SEQUENCE_MAX:",
        "    if False:",
        (suite("tests/engines/test_zookeeper_url.py"),),
        promises=("P35",),
    ),
    Mutant(
        "a guarded write asks only whether the member lives",
        "engines/zookeeper/members.py",
        "        if not _is(member, stat) or not seats or seats[0].name != member.id:",
        "        if not _is(member, stat):",
        (suite(ZOOKEEPER),),
        promises=("P33",),
    ),
    Mutant(
        "a guarded write is not bound to the member's life",
        "engines/zookeeper/cell_steps.py",
        '                ("check", tree.member(self.group, member.id), -1),\n',
        '                ("check", tree.incarnation, -1),\n',
        (suite(ZOOKEEPER),),
        promises=("P33",),
    ),
    Mutant(
        "a history that went back is taken for the present",
        "engines/zookeeper/history.py",
        "        if 0 < zxid < asked_after:",
        "        if False:",
        (suite("tests/engines/test_zookeeper_restored.py", "tests/engines/test_zookeeper_url.py"),),
        promises=("P31",),
    ),
    Mutant(
        "what ZooKeeper makes of a TTL is taken",
        "engines/zookeeper/sessions.py",
        "            if granted.timeout_ms != timeout_ms:",
        "            if False:",
        (suite(ZOOKEEPER),),
        promises=("P16",),
    ),
    Mutant(
        "a join whose answer was lost is not looked for",
        "engines/zookeeper/sessions.py",
        "            if found is not None:\n                return found\n",
        "            if False:\n                return found\n",
        (suite("tests/engines/test_zookeeper_lost_answers.py"),),
        promises=("P3",),
    ),
)
