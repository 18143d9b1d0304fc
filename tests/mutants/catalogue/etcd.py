"""Faults of the etcd engine. Their killers need a real etcd."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, Suite, suite

MEMBERS: Final = "engines/etcd/members.py"
STORE: Final = "engines/etcd/store.py"
SIGHT: Final = "engines/etcd/sight.py"
ENGINE: Final = "engines/etcd/engine.py"
URL: Final = "tests/engines/test_etcd_url.py"


def on_etcd(*tests: str) -> Suite:
    return suite(*(f"tests/engines/test_etcd_{test}" for test in tests))


ETCD: Final[tuple[Mutant, ...]] = (
    Mutant(
        "an etcd's claim does not look at who came before",
        MEMBERS,
        "        return mine, Condition(start, Compare.CREATE, Is.GREATER, member.revision - 1, end), same\n",
        "        return mine, same\n",
        (on_etcd("conformance.py::test_the_etcd_engine_conforms[check_only_the_first_claims]"),),
        promises=("P7",),
    ),
    Mutant(
        "an etcd's claim does not look whether its own key is there",
        MEMBERS,
        "    return Condition(key, Compare.CREATE, Is.EQUAL, revision)",
        "    return Condition(key, Compare.CREATE, Is.LESS, revision + 1)",
        (on_etcd("conformance.py::test_the_etcd_engine_conforms[check_leave_compares_the_revision]"),),
        promises=("P1", "P48"),
    ),
    Mutant(
        "keys of groups below an etcd's group stand in its queue",
        MEMBERS,
        '(kv for kv in found.kvs if b"/" not in kv.key[start:])',
        "(kv for kv in found.kvs if start)",
        (on_etcd("engine.py::test_what_lies_deeper_is_not_in_the_queue"),),
        promises=("P5",),
    ),
    Mutant(
        "a raised incarnation of an etcd ends no term",
        MEMBERS,
        "        same = Condition(self.layout.incarnation_key, Compare.MOD, Is.LESS, member.revision)\n",
        "        same = mine\n",
        (on_etcd("engine.py::test_a_bump_ends_what_was_before"),),
        promises=("P31",),
    ),
    Mutant(
        "a join that got stuck in an etcd brings back who has left",
        MEMBERS,
        "                Condition(left, Compare.MOD, Is.LESS, since + 1),\n",
        "",
        (on_etcd("lost_answers.py::test_a_late_join_brings_nobody_back"),),
        promises=("P2",),
    ),
    Mutant(
        "who stands in an etcd's group overlooks who is there",
        MEMBERS,
        " if alone else None\n",
        " if mine else None\n",
        (
            on_etcd("engine.py::test_who_stands_behind_others_does_not_claim"),
            on_etcd("conformance.py::test_the_etcd_engine_conforms[check_those_who_stand_at_once]"),
        ),
        promises=("P7",),
    ),
    Mutant(
        "a stand that got stuck in an etcd brings back who has left",
        MEMBERS,
        "            asked.conditions,\n",
        "            asked.conditions[:1],\n",
        (on_etcd("lost_answers.py::test_a_late_join_brings_nobody_back"),),
        promises=("P2",),
    ),
    Mutant(
        "a renewal counts although etcd's leader changed meanwhile",
        STORE,
        "    return before.get(first.member) == first.term == last.term\n",
        "    return True\n",
        (on_etcd("engine.py::test_a_renewal_across_a_change_of_term_is_not_counted"),),
        promises=("P12",),
    ),
    Mutant(
        "a revision that went back is nothing to wonder at",
        SIGHT,
        "        if linearizable and 0 < header.revision < mark.revision:\n",
        "        if False:\n",
        (suite(URL),),
        promises=("P31",),
    ),
    Mutant(
        "an etcd that was restored is led on at once",
        SIGHT,
        "        self.needs = self.incarnation + 1\n",
        "        self.needs = 0\n",
        (suite(URL),),
        promises=("P31",),
    ),
    Mutant(
        "seconds that an etcd gave without being asked are taken",
        ENGINE,
        "        if granted != total_s:\n",
        "        if False:\n",
        (on_etcd("engine.py::test_less_than_this_etcd_gives_is_refused_and_leaves_nothing"),),
        promises=("P16",),
    ),
    Mutant(
        "two sessions may share an etcd's lease",
        ENGINE,
        "        if found.value == value:\n",
        "        if found:\n",
        (on_etcd("engine.py::test_a_lease_id_that_another_session_has_is_left_to_it"),),
        promises=("P6",),
    ),
    Mutant(
        "a login that ran out is final",
        "engines/etcd/gateway.py",
        "            if meaning(refusal) is not Meaning.TOKEN_BAD or not self.access.user:\n",
        "            if True:\n",
        (on_etcd("engine.py::test_a_token_that_runs_out_ends_nothing"),),
        promises=("P48",),
    ),
    Mutant(
        "requests to an etcd wait for ever for a place",
        "engines/etcd/gateway.py",
        "            async with asyncio.timeout(timeout_s):\n                await self._places",
        "            async with asyncio.timeout(None):\n                await self._places",
        (on_etcd("engine.py::test_requests_wait_for_others_and_not_for_ever"),),
    ),
    Mutant(
        "a renewed certificate reaches no connection to an etcd",
        "engines/etcd/gateway.py",
        "        if tls is not self._tls:\n",
        "        if tls is None:\n",
        (on_etcd("engine.py::test_tls_both_ways"),),
    ),
    Mutant(
        "a watch waits for a member that serves no more",
        "engines/etcd/watching.py",
        '                self._lose(endpoint, f"its member does not serve: {error}")\n',
        "                error.add_note(str(endpoint))\n",
        (on_etcd("engine.py::test_a_watch_of_a_member_that_is_stopped_ends_in_time"),),
        promises=("P38",),
    ),
)
