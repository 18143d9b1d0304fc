A follower that lost entries is noted

P51. c's disk has lost entries that c had acknowledged. That breaks the promise on which commits rest, so the leader neither
retries for ever nor counts c's copies again in this term. It says so, for the operator.

> cluster a b c
> quietly elect a
> quietly propose a "x" "y"
> quietly settle
> crash c
    300 ms  c  crashes
> forget c from 2
> restart c
    300 ms  c  starts: now follower in 1
> propose a "z"
    300 ms  a  propose #3 "z": → append(1 after 3/1: 4/1"z", commit 3) to b c; durable 4/1"z";
                 #3 placed at 4/1
> deliver a->c
    300 ms  c  append(1 after 3/1: 4/1"z", commit 3) from a: leader_heard was=follower leader=a;
                 append_refused prev=3 hint=2 conflict=0; → append_reply(1 no 3, try 2) to a;
                 now follower in 1 of a
> deliver c->a
    300 ms  a  append_reply(1 no 3, try 2) from c: follower_lost_entries follower=c match=3 refused=3
> settle
    300 ms  b  append(1 after 3/1: 4/1"z", commit 3) from a: durable 4/1"z"; → append_reply(1 has 4) to a
    300 ms  a  append_reply(1 has 4) from b: → heartbeat(1 commit 4) to b; applies 4"z"
    300 ms  b  heartbeat(1 commit 4) from a: applies 4"z"
> propose a "last"
    300 ms  a  propose #4 "last": → append(1 after 4/1: 5/1"last", commit 4) to b; durable 5/1"last";
                 #4 placed at 5/1
> show
  a: leader in 1, serving; log: 1 1 1 1 1; commit 4
  b: follower in 1 of a; log: 1 1 1 1; commit 4
  c: follower in 1 of a; log: 1; commit 0
