A pre-vote waits for news that is on its way

Dissertation 9.6. b sees a's death first and asks at once. c has not seen it and hears a, so far. A refusal would cost b a whole
round; c parks the question for a moment, and the news comes.

> cluster a b c
> quietly elect a
> quietly run 50ms
> crash a
    350 ms  a  crashes
> hint b lost a
    350 ms  b  lost the connection to a: leader_forgotten leader=a rank=0; now follower in 1
> wait 0ms
    350 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a c; now pre_candidate in 1
> deliver b->c
    350 ms  c  pre_vote(2 last 1/1) from b: pre_vote_parked of=b asked=2
> wait 5ms
> hint c lost a
    355 ms  c  lost the connection to a: leader_forgotten leader=a rank=1; pre_vote_granted to=b asked=2;
                 → pre_vote_reply(2 yes) to b; now follower in 1
> settle
    355 ms  a  is down, so lost: pre_vote(2 last 1/1) from b
    355 ms  b  pre_vote_reply(2 yes) from c: pre_vote_won votes=2; durable term 2 vote b;
                 → vote(2 last 1/1) to a c; now candidate in 2
    355 ms  a  is down, so lost: vote(2 last 1/1) from b
    355 ms  c  vote(2 last 1/1) from b: higher_term was=follower to=2; vote_granted to=b;
                 durable term 2 vote b; → vote_reply(2 yes) to b; now follower in 2
    355 ms  b  vote_reply(2 yes) from c: became_leader start=2; → heartbeat(2 commit 0) to a c;
                 → append(2 after 1/1: 2/2, commit 1) to a c; durable 2/2; now leader in 2
    355 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    355 ms  a  is down, so lost: append(2 after 1/1: 2/2, commit 1) from b
    355 ms  c  append(2 after 1/1: 2/2, commit 1) from b: durable 2/2; → append_reply(2 has 2) to b
    355 ms  b  append_reply(2 has 2) from c: serving start=2; → heartbeat(2 commit 2) to c; applies 2;
                 now leader in 2, serving
    355 ms  c  heartbeat(2 commit 2) from b: applies 2
