A vote that was written binds after a crash

P51. b crashes while it writes its vote for a, and here the write had reached the disk. Nobody was told, and still the vote
stands: the next life of b refuses c.

> cluster a b c
> quietly campaign a
> quietly deliver a->b
> quietly campaign c
> quietly deliver c->b
> quietly deliver b->a
> quietly deliver b->c
> stall b
> deliver a->b vote
    400 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 writing term 1 vote a
> crash b after write
    400 ms  b  crashes after the write: durable term 1 vote a
> unstall b
> show
  a: candidate in 1; log: empty; commit 0
  b: down; on disk: term 1 vote a; log: empty
  c: candidate in 1; log: empty; commit 0
> restart b
    400 ms  b  starts: now follower in 1
> deliver c->b vote
    400 ms  b  vote(1 last 0/0) from c: vote_refused_taken to=c voted=a; → vote_reply(1 no) to c
> deliver b->c
    400 ms  c  vote_reply(1 no) from b

Nobody has won the term. a asks again in the next one.

> quietly elect a
> show
  a: leader in 2, serving; log: 2; commit 1
  b: follower in 2 of a; log: 2; commit 1
  c: follower in 2 of a; log: 2; commit 1
