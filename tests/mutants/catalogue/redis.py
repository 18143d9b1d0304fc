"""Faults of the Redis engine. Their killers need a real Redis."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, Suite, suite

SCRIPTS: Final = "engines/redis/scripts.py"


def on_redis(*tests: str) -> Suite:
    return suite(*(f"tests/engines/test_redis_{test}" for test in tests))


REDIS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "who stands on a Redis does not look who came before",
        SCRIPTS,
        "local before, changes = living(group, -1)\n",
        "local before, changes\n",
        (
            on_redis(
                "conformance.py::test_the_redis_engine_conforms[persistent-check_a_stand_is_join_and_claim]"
            ),
        ),
        promises=("P7",),
    ),
    Mutant(
        "who stands on a Redis waits for one whose session is over",
        SCRIPTS,
        "        if not entry or lives(group, entry) then return entry end\n",
        "        if not entry or place < 0 or lives(group, entry) then return entry end\n",
        (on_redis("failures.py::test_who_stands_alone_among_the_dead_is_first"),),
    ),
    Mutant(
        "who stands on a Redis again joins again",
        SCRIPTS,
        "if revision then return answer('ok', revision, claim(",
        "if false then return answer('ok', revision, claim(",
        (on_redis("failures.py::test_a_lost_answer_is_unknown_and_asking_again_settles_it"),),
        promises=("P3",),
    ),
    Mutant(
        "who stands on a Redis joins before it is known that it may claim",
        SCRIPTS,
        """    local retry = math.min(left(first(group)), left(before))
    revision, changes = join(ARGV[2], group, ARGV[4])
""",
        """    revision, changes = join(ARGV[2], group, ARGV[4])
    local retry = math.min(left(first(group)), left(before))
""",
        (on_redis("failures.py::test_a_stand_that_is_refused_leaves_no_member"),),
        promises=("P2",),
    ),
    Mutant(
        "who stands on a Redis that went back leads",
        "engines/redis/engine.py",
        "            scripts.STAND, own.hex(), group, value, *_beside(cell), judged=True\n",
        "            scripts.STAND, own.hex(), group, value, *_beside(cell)\n",
        (on_redis("failures.py::test_data_that_went_back_is_refused_until_the_incarnation_is_raised"),),
        promises=("P31",),
    ),
)
