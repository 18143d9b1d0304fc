A follower acknowledges only what is durable

P51, Raft section 5.3. What a leader counts as held by a quorum is on the disks of a quorum, not in their memory.

> cluster a b c
> quietly elect a
> cut c
> stall b
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c (cut off); durable 2/1"x";
                 #1 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: writing 2/1"x"
> show
  a: leader in 1, serving; log: 1 1; commit 1
  b: follower in 1 of a; log: 1 1; commit 1; durable to 1
  c: follower in 1 of a; log: 1; commit 1
> unstall b
    300 ms  b  the disk answers: durable 2/1"x"; → append_reply(1 has 2) to a
> settle
    300 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b; applies 2"x"
    300 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
