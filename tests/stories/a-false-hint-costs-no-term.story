A false hint costs no term

P52. A connection closes and a lives: a restart of a switch, a full table. b asks, and who hears a refuses. The next heartbeat
brings b back. No term has changed.

> cluster a b c
> quietly elect a
> quietly run 50ms
> hint b lost a
    350 ms  b  lost the connection to a: leader_forgotten leader=a rank=0; now follower in 1
> wait 0ms
    350 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a c; now pre_candidate in 1
> deliver b->
    350 ms  a  pre_vote(2 last 1/1) from b: pre_vote_refused_sticky to=b asked=2;
                 → pre_vote_reply(1 no) to b
    350 ms  c  pre_vote(2 last 1/1) from b: pre_vote_parked of=b asked=2
> wait 40ms
    370 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a c
    370 ms  c  alarm: pre_vote_refused_sticky to=b asked=2; → pre_vote_reply(1 no) to b
    390 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a c
> settle
    390 ms  b  pre_vote_reply(1 no) from a
    390 ms  a  pre_vote(2 last 1/1) from b: pre_vote_refused_sticky to=b asked=2;
                 → pre_vote_reply(1 no) to b
    390 ms  c  pre_vote(2 last 1/1) from b: pre_vote_parked of=b asked=2
    390 ms  b  pre_vote_reply(1 no) from c
    390 ms  a  pre_vote(2 last 1/1) from b: pre_vote_refused_sticky to=b asked=2;
                 → pre_vote_reply(1 no) to b
    390 ms  c  pre_vote(2 last 1/1) from b: pre_vote_parked of=b asked=2
    390 ms  b  pre_vote_reply(1 no) from a
    390 ms  b  pre_vote_reply(1 no) from a
> run 50ms
    400 ms  b  heartbeat(1 commit 1) from a: leader_heard was=pre_candidate leader=a;
                 → heartbeat_reply(1) to a; now follower in 1 of a
    410 ms  c  alarm: pre_vote_refused_sticky to=b asked=2; → pre_vote_reply(1 no) to b
    410 ms  b  pre_vote_reply(1 no) from c
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
