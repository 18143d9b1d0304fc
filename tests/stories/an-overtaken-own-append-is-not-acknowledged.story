An overtaken own append is not acknowledged

P51. a's disk is slow: while it writes "x", b is elected and puts another entry in that place. When the write is done, a must
not count it as its copy of what the log holds now.

> cluster a b c
> quietly elect a
> stall a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; writing 2/1"x"
> cut a->
> quietly campaign b
> quietly settle
> show
  a: follower in 2 of b; log: 1 2; commit 1; durable to 1
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
> unstall a
    650 ms  a  the disk answers: durable 2/1"x"; #1 placed at 2/1; pre_vote_refused_log to=b asked=2;
                 vote_refused_sticky to=b asked=2; higher_term was=leader to=2;
                 leader_heard was=follower leader=b; append_conflict at=2 mine=1 theirs=2;
                 own_append_overtaken index=2 was=1; durable cut from 2, term 2 vote -, 2/2;
                 → pre_vote_reply(1 no) to b (cut off); → heartbeat_reply(2) to b (cut off);
                 → append_reply(2 has 2) to b (cut off); now follower in 2 of b

Its answers were lost with the rest. Once the link is whole, it catches up as usual.

> heal
> quietly run 50ms
> show
  a: follower in 2 of b; log: 1 2; commit 2
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
