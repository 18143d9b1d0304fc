A lost append is sent again

Raft section 5.3. Heartbeats are not lost with it, and their answers say that the follower lives. An append without an answer
for a heartbeat interval is taken for lost.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> drop a->b append
> settle
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to c; applies 2"x"
    300 ms  c  heartbeat(1 commit 2) from a: applies 2"x"
> show
  a: leader in 1, serving; log: 1 1; commit 2
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1 1; commit 2
> run 50ms
    350 ms  a  heartbeat_reply(1) from b: → append(1 after 1/1: 2/1"x", commit 2) to b
    350 ms  b  append(1 after 1/1: 2/1"x", commit 2) from a: durable 2/1"x"; → append_reply(1 has 2) to a;
                 applies 2"x"
    350 ms  a  append_reply(1 has 2) from b
> show
  a: leader in 1, serving; log: 1 1; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  c: follower in 1 of a; log: 1 1; commit 2
