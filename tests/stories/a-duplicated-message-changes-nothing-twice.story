A duplicated message changes nothing twice

Raft section 5.5. Every message may arrive twice, also much later. The second time everybody says the same again and nothing
moves.

> cluster a b c
> quietly campaign a
> deliver a->b
    300 ms  b  pre_vote(1 last 0/0) from a: pre_vote_granted to=a asked=1; → pre_vote_reply(1 yes) to a
> duplicate b->a
> deliver b->a
    300 ms  a  pre_vote_reply(1 yes) from b: pre_vote_won votes=2; durable term 1 vote a;
                 → vote(1 last 0/0) to b c; now candidate in 1
    300 ms  a  pre_vote_reply(1 yes) from b
> drop a->c
> duplicate a->b
> deliver a->b
    300 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 durable term 1 vote a; → vote_reply(1 yes) to a; now follower in 1
    300 ms  b  vote(1 last 0/0) from a: vote_granted to=a; → vote_reply(1 yes) to a
> deliver b->a
    300 ms  a  vote_reply(1 yes) from b: became_leader start=1; → heartbeat(1 commit 0) to b c;
                 → append(1 after 0/0: 1/1, commit 0) to b c; durable 1/1; now leader in 1
    300 ms  a  vote_reply(1 yes) from b
