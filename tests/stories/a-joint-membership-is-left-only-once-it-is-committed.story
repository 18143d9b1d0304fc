A joint membership is left only once it is committed

P57, dissertation 4.3. The commit index moves up to an entry before the change. That is no reason to leave the joint membership:
only once it is committed itself has it done its work.

> cluster a b c learners d
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c d; durable 2/1"x";
                 #1 placed at 2/1
> deliver a->
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  d  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
> change a to a b c d
    300 ms  a  change #2: membership_entered at=3 voters=a,b,c,d outgoing=a,b,c learners=-;
                 → append(1 after 2/1: 3/1[voters a b c d, outgoing a b c], commit 1) to b c d;
                 durable 3/1[voters a b c d, outgoing a b c]; #2 placed at 3/1
> deliver ->a append_reply
    300 ms  a  append_reply(1 has 2) from b
    300 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to b c; applies 2"x"
    300 ms  a  append_reply(1 has 2) from d: → heartbeat(1 commit 2) to d
> show
  a: leader in 1, serving; log: 1 1 1; commit 2; voters a b c d, outgoing a b c
  b: follower in 1 of a; log: 1 1; commit 1
  c: follower in 1 of a; log: 1 1; commit 1
  d: follower in 1 of a; log: 1 1; commit 1
> deliver a->b append
    300 ms  b  append(1 after 2/1: 3/1[voters a b c d, outgoing a b c], commit 1) from a:
                 durable 3/1[voters a b c d, outgoing a b c]; → append_reply(1 has 3) to a
> deliver a->c append
    300 ms  c  append(1 after 2/1: 3/1[voters a b c d, outgoing a b c], commit 1) from a:
                 durable 3/1[voters a b c d, outgoing a b c]; → append_reply(1 has 3) to a
> deliver ->a append_reply
    300 ms  a  append_reply(1 has 3) from b
    300 ms  a  append_reply(1 has 3) from c: membership_left at=4 voters=a,b,c,d outgoing=- learners=-;
                 → append(1 after 3/1: 4/1[voters a b c d], commit 3) to b c d; durable 4/1[voters a b c d];
                 applies 3
> quietly settle
> show
  a: leader in 1, serving; log: 1 1 1 1; commit 4; voters a b c d
  b: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  c: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  d: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
