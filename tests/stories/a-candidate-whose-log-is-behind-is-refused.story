A candidate whose log is behind is refused

Raft section 5.4.1. b and c hold an entry of a later term, which may be committed. a's log is longer, and yet a must not lead: the
term of the last entry counts first.

> cluster a b c logs a=1,1,1 b=1,2 c=1,2 terms a=2
> campaign a
    300 ms  a  alarm: campaign_timeout last=3; → pre_vote(3 last 3/1) to b c; now pre_candidate in 2
> settle
    300 ms  b  pre_vote(3 last 3/1) from a: pre_vote_refused_log to=a asked=3; → pre_vote_reply(2 no) to a
    300 ms  c  pre_vote(3 last 3/1) from a: pre_vote_refused_log to=a asked=3; → pre_vote_reply(2 no) to a
    300 ms  a  pre_vote_reply(2 no) from b
    300 ms  a  pre_vote_reply(2 no) from c

That has cost nobody a term. Whoever has the entry can lead, and brings a's log in line.

> quietly elect b
> show
  a: follower in 3 of b; log: 1 2 3; commit 3
  b: leader in 3, serving; log: 1 2 3; commit 3
  c: follower in 3 of b; log: 1 2 3; commit 3
