A rejoining node does not depose a healthy leader

P52, dissertation 9.6. c was cut off before it held an election timeout's worth of patience, and comes back asking for votes. The
others hear their leader, so they do not even consider it: their leader stays, and so does the term.

> cluster a b c
> quietly elect a
> cut c
> quietly run 300ms
> heal
> campaign c
    700 ms  c  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a b; now pre_candidate in 1
> deliver c->
    700 ms  a  pre_vote(2 last 1/1) from c: pre_vote_refused_sticky to=c asked=2;
                 → pre_vote_reply(1 no) to c
    700 ms  b  pre_vote(2 last 1/1) from c: pre_vote_parked of=c asked=2

They park the question for a moment, in case news of a's death is on its way, and then refuse.

> wait 30ms
    720 ms  b  alarm: pre_vote_refused_sticky to=c asked=2; → pre_vote_reply(1 no) to c
> settle
    730 ms  c  pre_vote_reply(1 no) from a
    730 ms  c  heartbeat(1 commit 1) from a: leader_heard was=pre_candidate leader=a;
                 → heartbeat_reply(1) to a; now follower in 1 of a
    730 ms  c  pre_vote_reply(1 no) from b
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
