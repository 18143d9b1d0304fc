Only one change at a time

P57, Raft section 6. A second change that began before the first is committed could find a majority that knows nothing of it.

> cluster a b c learners d e
> quietly elect a
> change a to a b c d learners e
    300 ms  a  change #1: membership_entered at=2 voters=a,b,c,d outgoing=a,b,c learners=e;
                 → append(1 after 1/1: 2/1[voters a b c d, outgoing a b c, learners e], commit 1) to b c d e;
                 durable 2/1[voters a b c d, outgoing a b c, learners e]; #1 placed at 2/1
> change a to a b c e learners d
    300 ms  a  change #2:
                 membership_refused request=2 why=changing because="the change before is not committed yet";
                 #2 refused: changing
> quietly settle
> change a to a b c d e
    300 ms  a  change #3: membership_entered at=4 voters=a,b,c,d,e outgoing=a,b,c,d learners=-;
                 → append(1 after 3/1: 4/1[voters a b c d e, outgoing a b c d], commit 3) to b c d e;
                 durable 4/1[voters a b c d e, outgoing a b c d]; #3 placed at 4/1
