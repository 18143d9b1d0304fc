A removed node that was not told disturbs nobody

P52, dissertation 4.2.3. c was cut off while it was removed. It thinks that it votes, and asks on and on. The others hear their
leader.

> cluster a b c
> quietly elect a
> cut c
> quietly change a to a b
> quietly run 50ms
> show
  a: leader in 1, serving; log: 1 1 1; commit 3; voters a b
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b
  c: follower in 1 of a; log: 1; commit 1
> heal
> quietly run 300ms
> campaign c
    700 ms  c  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a b; now pre_candidate in 1
> settle
    700 ms  a  pre_vote(2 last 1/1) from c: pre_vote_refused_log to=c asked=2; → pre_vote_reply(1 no) to c
    700 ms  b  pre_vote(2 last 1/1) from c: pre_vote_refused_log to=c asked=2; → pre_vote_reply(1 no) to c
    700 ms  c  pre_vote_reply(1 no) from a
    700 ms  c  pre_vote_reply(1 no) from b
> show
  a: leader in 1, serving; log: 1 1 1; commit 3; voters a b
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b
  c: pre_candidate in 1; log: 1; commit 1
