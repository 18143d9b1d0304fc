Vote requests are ignored while a leader lives

P53, dissertation 4.2.3. c won its pre-vote when there was no leader yet, and its vote requests of a high term were late. When
they arrive there is a leader, and who has heard it within the minimum election timeout keeps its term and says nothing.

> cluster a b c terms c=5
> quietly campaign c
> quietly deliver c->b
> deliver b->c
    400 ms  c  pre_vote_reply(6 yes) from b: pre_vote_won votes=2; durable term 6 vote c;
                 → vote(6 last 0/0) to a b; now candidate in 6
> hold c->
> cut ->c
> quietly elect a
> wait 200ms
> quietly settle
> deliver c-> vote
    600 ms  a  vote(6 last 0/0) from c: vote_refused_sticky to=c asked=6
    600 ms  b  vote(6 last 0/0) from c: vote_refused_sticky to=c asked=6
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: candidate in 6; log: empty; commit 0
