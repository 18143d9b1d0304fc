A follower that needs a snapshot does not hold up the others

Raft section 7. c is sent a snapshot and does not answer. Meanwhile a and b commit as if nothing were.

> cluster a b c limits compaction_tail=0 snapshot_chunk_bytes=4
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> quietly snapshot a
> heal
> wait 50ms
> quietly deliver a->c
> quietly deliver c->a
> hold a->c install_snapshot
> propose a "y"
    350 ms  a  propose #2 "y": → append(1 after 2/1: 3/1"y", commit 2) to b; durable 3/1"y";
                 #2 placed at 3/1
> settle
    350 ms  b  append(1 after 2/1: 3/1"y", commit 2) from a: durable 3/1"y"; → append_reply(1 has 3) to a
    350 ms  a  append_reply(1 has 3) from b: → heartbeat(1 commit 3) to b; applies 3"y"
    350 ms  b  heartbeat(1 commit 3) from a: applies 3"y"
> show
  a: leader in 1, serving; log from 3: 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 3
  c: follower in 1 of a; log: 1; commit 1
