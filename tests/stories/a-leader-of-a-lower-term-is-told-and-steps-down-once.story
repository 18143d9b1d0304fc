A leader of a lower term is told and steps down once

P52, dissertation 9.6. c has a higher term than the leader, and nobody grants it a vote while they hear the leader. Without an
answer c would be stuck: it can accept nothing of a lower term. So it tells the leader, which steps down, once; then all share
one term.

> cluster a b c terms c=5
> quietly campaign c
> quietly deliver c->b
> quietly deliver b->c
> quietly drop c->
> cut c
> quietly elect a
> heal
> wait 50ms
> deliver a->c heartbeat
    450 ms  c  heartbeat(1 commit 0) from a: lower_term_answered sender=a theirs=1;
                 → heartbeat_reply(6) to a
> deliver c->a
    450 ms  a  heartbeat_reply(6) from c: higher_term was=leader to=6; durable term 6 vote -;
                 now follower in 6
> quietly elect a
> show
  a: leader in 7, serving; log: 1 7; commit 2
  b: follower in 7 of a; log: 1 7; commit 2
  c: follower in 7 of a; log: 1 7; commit 2
