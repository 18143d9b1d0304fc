A split vote is settled by the next timeout

Raft section 5.2. Two candidates of one term have two of four votes each, so nobody wins. Their draws differ, so one of them asks
again before the other.

> cluster a b c d
> quietly campaign a
> quietly deliver a->b
> quietly deliver a->c
> quietly campaign d
> quietly deliver d->b
> quietly deliver d->c
> quietly deliver ->a pre_vote_reply
> quietly deliver ->d pre_vote_reply
> show
  a: candidate in 1; log: empty; commit 0
  b: follower in 0; log: empty; commit 0
  c: follower in 0; log: empty; commit 0
  d: candidate in 1; log: empty; commit 0
> deliver a->b vote
    450 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 durable term 1 vote a; → vote_reply(1 yes) to a; now follower in 1
> deliver d->c vote
    450 ms  c  vote(1 last 0/0) from d: higher_term was=follower to=1; vote_granted to=d;
                 durable term 1 vote d; → vote_reply(1 yes) to d; now follower in 1
> settle
    450 ms  d  pre_vote(1 last 0/0) from a: pre_vote_refused_term to=a asked=1; → pre_vote_reply(1 no) to a
    450 ms  a  pre_vote(1 last 0/0) from d: pre_vote_refused_term to=d asked=1; → pre_vote_reply(1 no) to d
    450 ms  c  vote(1 last 0/0) from a: vote_refused_taken to=a voted=d; → vote_reply(1 no) to a
    450 ms  d  vote(1 last 0/0) from a: vote_refused_taken to=a voted=d; → vote_reply(1 no) to a
    450 ms  a  vote(1 last 0/0) from d: vote_refused_taken to=d voted=a; → vote_reply(1 no) to d
    450 ms  b  vote(1 last 0/0) from d: vote_refused_taken to=d voted=a; → vote_reply(1 no) to d
    450 ms  a  vote_reply(1 yes) from b
    450 ms  d  vote_reply(1 yes) from c
    450 ms  a  pre_vote_reply(1 no) from d
    450 ms  d  pre_vote_reply(1 no) from a
    450 ms  a  vote_reply(1 no) from c
    450 ms  a  vote_reply(1 no) from d: vote_lost was=candidate to=1; now follower in 1
    450 ms  d  vote_reply(1 no) from a
    450 ms  d  vote_reply(1 no) from b: vote_lost was=candidate to=1; now follower in 1
> show
  a: follower in 1; log: empty; commit 0
  b: follower in 1; log: empty; commit 0
  c: follower in 1; log: empty; commit 0
  d: follower in 1; log: empty; commit 0
> quietly run 300ms
> show
  a: leader in 2, serving; log: 2; commit 1
  b: follower in 2 of a; log: 2; commit 1
  c: follower in 2 of a; log: 2; commit 1
  d: follower in 2 of a; log: 2; commit 1
