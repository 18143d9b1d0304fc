"""Faults of the engine on Kubernetes: what the Lease's version, the order of its steps, and the observer's clock are for."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

PLACE: Final = "engines/kubernetes/"
ENGINE: Final = suite("tests/engines/test_kubernetes_engine.py")
TURNS: Final = suite("tests/engines/test_kubernetes_turns.py")
CLAIMS: Final = PLACE + "claims.py"
TROUBLE: Final = suite("tests/engines/test_kubernetes_trouble.py")

KUBERNETES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "who took the Lease does not look again",
        CLAIMS,
        "        await leases.update(_taken(election, me, token, member.group))\n"
        "        return await self._look_again(leases, member, token, cell)",
        "        await leases.update(_taken(election, me, token, member.group))\n"
        "        return Claimed(member, token)",
        (TROUBLE,),
        promises=("P1", "P48"),
    ),
    Mutant(
        "a foreign holder is waited for a second",
        PLACE + "leases.py",
        "    return FOREIGN_DURATION_NS if seconds is None else int(seconds) * NS",
        "    return NS",
        (ENGINE,),
        promises=("P15",),
    ),
    Mutant(
        "what is seen for the first time is taken for ancient",
        PLACE + "observed.py",
        "        self._seen[name] = (record, self._clock.now_ns())",
        "        self._seen[name] = (record, self._clock.now_ns() if known else 0)",
        (ENGINE,),
        promises=("P17",),
    ),
    Mutant(
        "the mark does not compare the version",
        PLACE + "ending.py",
        "    return await leases.update(changed(lease, annotations=marks))",
        '    marked = changed(lease, annotations=marks)\n    marked["metadata"]["resourceVersion"] = ""\n'
        "    return await leases.update(marked)",
        (ENGINE,),
        promises=("P10", "P12"),
    ),
    Mutant(
        "our annotations make a foreign holder ours",
        PLACE + "leases.py",
        '    return holder if holder and notes(election).get(HOLDER) == holder else ""',
        '    return notes(election).get(HOLDER, "")',
        (ENGINE,),
        promises=("P18", "P33"),
    ),
    Mutant(
        "a guard compares no token",
        PLACE + "cell_store.py",
        " or token_of(election) != claimed.token",
        "",
        (TROUBLE,),
        promises=("P33",),
    ),
    Mutant(
        "a token need not rise",
        CLAIMS,
        "    if token <= token_of(election):",
        "    if False:",
        (ENGINE,),
        promises=("P30", "P32"),
    ),
    Mutant(
        "a raised incarnation ends no term on Kubernetes",
        CLAIMS,
        "    if snapshot.raised_at > member.revision:",
        "    if False:",
        (ENGINE,),
        promises=("P31",),
    ),
    Mutant(
        "a revision that goes back is not noticed",
        PLACE + "group_reader.py",
        "        if seen < known:",
        "        if False:",
        (ENGINE,),
        promises=("P31",),
    ),
    Mutant(
        "a write of cells whose answer was lost is done again",
        PLACE + "cell_store.py",
        "        if step.based_on is not None:\n            became",
        "        if False:\n            became",
        (TROUBLE,),
        promises=("P3",),
    ),
    Mutant(
        "Retry-After is not waited for",
        PLACE + "client.py",
        "await self._pause(RETRY_AFTER_DEFAULT_S if wait_s is None else wait_s, refusal)",
        "await self._pause(0.0, refusal)",
        (TROUBLE,),
        promises=("P49",),
    ),
    Mutant(
        "a conflict on a renewal ends the session",
        PLACE + "engine.py",
        "            self._sessions.pop(reference.name, None)\n            raise\n",
        '            self._sessions.pop(reference.name, None)\n            raise SessionGone("conflict") from None\n',
        (ENGINE,),
        promises=("P49",),
    ),
    Mutant(
        "a group's name is always its Lease's",
        PLACE + "leases.py",
        "    return ELECTION + hashed(group)",
        "    return group.lower()",
        (ENGINE,),
        promises=("P5",),
    ),
    Mutant(
        "who took the Lease at once does not look again",
        CLAIMS,
        "        after = await self.groups.seen(member.group, version_of(taken))\n",
        "        return Claimed(member, token)\n",
        (TROUBLE,),
        promises=("P1", "P48"),
    ),
    Mutant(
        "an incarnation that was raised while the Lease was taken at once is not seen",
        CLAIMS,
        " and after.raised_at <= member.revision",
        "",
        (TROUBLE,),
        promises=("P31",),
    ),
    Mutant(
        "who is not the first takes a free Lease at once",
        CLAIMS,
        " or before.members[0] is not me",
        "",
        (TURNS,),
        promises=("P7",),
    ),
    Mutant(
        "a view in which a session was silent is believed",
        PLACE + "group_reader.py",
        "        if here < self._known or self._over(snapshot) or ",
        "        if here < self._known or ",
        (TURNS,),
        promises=("P1",),
    ),
    Mutant(
        "a view that is older than what was read is believed",
        PLACE + "group_reader.py",
        "        if here < self._known or self._over",
        "        if self._over",
        (TURNS,),
        promises=("P31",),
    ),
    Mutant(
        "who let go to leave is not known to have left",
        PLACE + "ending.py",
        "            await leases.update(released(found, left))",
        "            await leases.update(released(found))",
        (TURNS,),
        promises=("P12",),
    ),
    Mutant(
        "a label makes a holder whose revision is not written down look gone",
        PLACE + "snapshot.py",
        "        return self.identity == holder or ",
        "        return self.identity == holder or False and ",
        (TURNS,),
        promises=("P49",),
    ),
    Mutant(
        "whom the API server refuses after the join stays a member",
        PLACE + "engine.py",
        "                await leases.delete(joining.made)  # nobody else knows of it; what it may hold is free by that\n",
        "",
        (TURNS,),
        promises=("P2",),
    ),
)
