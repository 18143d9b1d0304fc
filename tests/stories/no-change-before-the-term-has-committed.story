No change before the term has committed

P57, dissertation 4.1. A new leader may hold a membership that the next one replaces. Until an entry of its own term is
committed it does not know which one counts, so it takes none on.

> cluster a b c learners d
> quietly campaign a
> quietly deliver a->b
> quietly deliver b->a
> quietly deliver a->b
> quietly deliver b->a
> change a to a b c d
    300 ms  a  change #1:
                 membership_refused request=1 why=too_early because="nothing of this term is committed yet";
                 #1 refused: too_early
> quietly settle
> change a to a b c d
    300 ms  a  change #2: membership_entered at=2 voters=a,b,c,d outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters a b c d, outgoing a b c], commit 1) to b c d;
                 durable 2/1[voters a b c d, outgoing a b c]; #2 placed at 2/1
