A parked pre-vote is refused when no news comes

P52. c parks b's question, and a lives. After a moment c refuses: parking must not wear down the protection of a leader that
lives.

> cluster a b c
> quietly elect a
> quietly run 50ms
> cut b->a
> hint b lost a
    350 ms  b  lost the connection to a: leader_forgotten leader=a rank=0; now follower in 1
> wait 0ms
    350 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a (cut off) c; now pre_candidate in 1
> deliver b->c
    350 ms  c  pre_vote(2 last 1/1) from b: pre_vote_parked of=b asked=2
> wait 20ms
    370 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a (cut off) c
    370 ms  c  alarm: pre_vote_refused_sticky to=b asked=2; → pre_vote_reply(1 no) to b
> deliver c->b
    370 ms  b  pre_vote_reply(1 no) from c
