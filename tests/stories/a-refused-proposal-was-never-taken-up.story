A refused proposal was never taken up

Raft section 8. Who is no leader says so at once, and whom it follows. Such a request is safe to repeat anywhere.

> cluster a b c limits uncommitted_entries_max=1
> quietly elect a
> propose b "x"
    300 ms  b  propose #1 "x": proposal_refused request=1 leader=a why=not_leader; #1 refused: not_leader
> read b
    300 ms  b  read #2: read_refused request=2 leader=a why=not_leader; #2 refused: not_leader

A leader that has too much on its hands refuses too.

> propose a "x" "y"
    300 ms  a  propose #3 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #3 placed at 2/1
    300 ms  a  propose #4 "y": proposal_refused request=4 leader=a why=overloaded; #4 refused: overloaded
