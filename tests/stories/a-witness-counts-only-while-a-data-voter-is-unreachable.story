A witness counts only while a data voter is unreachable

P51, Raft section 5.3. What only a and w hold is lost with a's disk. So while b can give its own acknowledgement, w is only told
what is committed; once b has not been heard for an election timeout, w is told all and counts.

> cluster a b w witnesses w
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b; durable 2/1"x";
                 #1 placed at 2/1
> hold a->b append
> settle
> show
  a: leader in 1, serving; log: 1 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  w: follower in 1 of a; log: 1; commit 1
> cut b
> run 350ms
    600 ms  a  alarm: → heartbeat(1 commit 1) to b (cut off) w; → append(1 after 1/1: 2/1, commit 1) to w;
                 durable term 1 vote a
    600 ms  w  append(1 after 1/1: 2/1, commit 1) from a: durable 2/1; → append_reply(1 has 2) to a
    600 ms  a  append_reply(1 has 2) from w: → heartbeat(1 commit 2) to w; applies 2"x"
    600 ms  w  heartbeat(1 commit 2) from a: applies 2
    650 ms  b  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a (cut off) w (cut off);
                 now pre_candidate in 1
> show
  a: leader in 1, serving; log: 1 1; commit 2
  b: pre_candidate in 1; log: 1; commit 1
  w: follower in 1 of a; log: 1 1; commit 2
