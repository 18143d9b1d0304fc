A witness votes and never leads

Raft section 5.2. A witness keeps terms, votes and memberships, no data. Here w helps b to a majority, and never asks for one
itself.

> cluster a b w witnesses w
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b; durable 2/1"x";
                 #1 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b;
                 → append(1 after 1/1: 2/1, commit 2) to w; applies 2"x"
    300 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
    300 ms  w  append(1 after 1/1: 2/1, commit 2) from a: durable 2/1; → append_reply(1 has 2) to a;
                 applies 2
    300 ms  a  append_reply(1 has 2) from w
> show
  a: leader in 1, serving; log: 1 1; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  w: follower in 1 of a; log: 1 1; commit 2
> crash a
    300 ms  a  crashes
> campaign b
    650 ms  b  alarm: campaign_timeout last=2; → pre_vote(2 last 2/1) to a w; now pre_candidate in 1
> quietly drop
> wait 600ms
    700 ms  w  alarm: now follower in 1
   1000 ms  b  alarm: campaign_timeout last=2; → pre_vote(2 last 2/1) to a w

w's election timeout was over long ago, and only b has asked.

> quietly elect b
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: leader in 2; log: 1 1 2; commit 2
  w: follower in 2 of b; log: 1 1; commit 2

b serves once a has not been heard for an election timeout: from then on w's copies count.

> quietly run 350ms
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: leader in 2, serving; log: 1 1 2; commit 3
  w: follower in 2 of b; log: 1 1 2; commit 3
