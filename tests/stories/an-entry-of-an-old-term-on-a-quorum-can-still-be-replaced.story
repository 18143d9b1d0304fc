An entry of an old term on a quorum can still be replaced

Raft section 5.4.2, figure 8 (d). The entry of term 2 is on the disks of a, b and c, and nobody has committed it. e has one of a
later term, is elected, and replaces it. Whoever had counted it as committed would have lost it.

> cluster a b c d e logs a=1,2 b=1,2 c=1,2 d=1 e=1,3 terms a=4 b=4 c=4 d=4 e=4
> cut a
> quietly elect e
> show
  a: follower in 4; log: 1 2; commit 0
  b: follower in 5 of e; log: 1 3 5; commit 3
  c: follower in 5 of e; log: 1 3 5; commit 3
  d: follower in 5 of e; log: 1 3 5; commit 3
  e: leader in 5, serving; log: 1 3 5; commit 3
> heal
> run 50ms
    500 ms  a  alarm: campaign_timeout last=2; → pre_vote(5 last 2/2) to b c d e; now pre_candidate in 4
    500 ms  b  pre_vote(5 last 2/2) from a: pre_vote_refused_term to=a asked=5; → pre_vote_reply(5 no) to a
    500 ms  c  pre_vote(5 last 2/2) from a: pre_vote_refused_term to=a asked=5; → pre_vote_reply(5 no) to a
    500 ms  d  pre_vote(5 last 2/2) from a: pre_vote_refused_term to=a asked=5; → pre_vote_reply(5 no) to a
    500 ms  e  pre_vote(5 last 2/2) from a: pre_vote_refused_term to=a asked=5; → pre_vote_reply(5 no) to a
    500 ms  a  pre_vote_reply(5 no) from b: higher_term was=pre_candidate to=5; durable term 5 vote -;
                 now follower in 5
    500 ms  a  pre_vote_reply(5 no) from c
    500 ms  a  pre_vote_reply(5 no) from d
    500 ms  a  pre_vote_reply(5 no) from e
    550 ms  a  heartbeat(5 commit 0) from e: leader_heard was=follower leader=e; → heartbeat_reply(5) to e;
                 now follower in 5 of e
    550 ms  e  heartbeat_reply(5) from a: → append(5 after 2/3: 3/5, commit 3) to a
    550 ms  a  append(5 after 2/3: 3/5, commit 3) from e: append_refused prev=2 hint=2 conflict=2;
                 → append_reply(5 no 2, try 2) to e
    550 ms  e  append_reply(5 no 2, try 2) from a: → append(5 after 1/1: 2/3"old" 3/5, commit 3) to a
    550 ms  a  append(5 after 1/1: 2/3"old" 3/5, commit 3) from e: append_conflict at=2 mine=2 theirs=3;
                 durable cut from 2, 2/3"old" 3/5; → append_reply(5 has 3) to e; applies 1"old" 2"old" 3
    550 ms  e  append_reply(5 has 3) from a
> show
  a: follower in 5 of e; log: 1 3 5; commit 3
  b: follower in 5 of e; log: 1 3 5; commit 3
  c: follower in 5 of e; log: 1 3 5; commit 3
  d: follower in 5 of e; log: 1 3 5; commit 3
  e: leader in 5, serving; log: 1 3 5; commit 3
