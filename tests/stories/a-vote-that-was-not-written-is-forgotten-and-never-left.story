A vote that was not written is forgotten and never left

P51. b crashes while it writes its vote for a. Nobody was told of that vote, so b may give it to c in the same term.

> cluster a b c
> quietly campaign a
> quietly deliver a->b
> quietly campaign c
> quietly deliver c->b
> deliver b->a
    400 ms  a  pre_vote_reply(1 yes) from b: pre_vote_won votes=2; durable term 1 vote a;
                 → vote(1 last 0/0) to b c; now candidate in 1
> deliver b->c
    400 ms  c  pre_vote_reply(1 yes) from b: pre_vote_won votes=2; durable term 1 vote c;
                 → vote(1 last 0/0) to a b; now candidate in 1
> stall b
> deliver a->b vote
    400 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 writing term 1 vote a
> crash b
    400 ms  b  crashes, and what it was writing is lost
> unstall b
> restart b
    400 ms  b  starts: now follower in 0
> deliver c->b vote
    400 ms  b  vote(1 last 0/0) from c: higher_term was=follower to=1; vote_granted to=c;
                 durable term 1 vote c; → vote_reply(1 yes) to c; now follower in 1
> deliver b->c
    400 ms  c  vote_reply(1 yes) from b: became_leader start=1; → heartbeat(1 commit 0) to a b;
                 → append(1 after 0/0: 1/1, commit 0) to a b; durable 1/1; now leader in 1
> show
  a: candidate in 1; log: empty; commit 0
  b: follower in 1; log: empty; commit 0
  c: leader in 1; log: 1; commit 0
