A voter of higher priority is given the leadership

P43, dissertation 3.10. c should lead. a yields once c has everything and a has led for the delay, and c keeps the leadership.

> cluster a b c priorities c=1 timing preemption_delay=1s
> quietly elect a
> quietly run 950ms
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
> run 100ms
   1300 ms  a  alarm: preempted to=c; transfer_started to=c; transfer_sent to=c;
                 → heartbeat(1 commit 1) to b c; → timeout_now(1) to c
   1300 ms  c  timeout_now(1) from a: campaign_handed_over last=1; durable term 2 vote c;
                 → vote(2 last 1/1 handed over) to a b; now candidate in 2
   1300 ms  a  vote(2 last 1/1 handed over) from c: higher_term was=leader to=2; vote_granted to=c;
                 durable term 2 vote c; → vote_reply(2 yes) to c; now follower in 2
   1300 ms  b  vote(2 last 1/1 handed over) from c: higher_term was=follower to=2; vote_granted to=c;
                 durable term 2 vote c; → vote_reply(2 yes) to c; now follower in 2
   1300 ms  c  vote_reply(2 yes) from a: became_leader start=2; → heartbeat(2 commit 0) to a b;
                 → append(2 after 1/1: 2/2, commit 1) to a b; durable 2/2; now leader in 2
   1300 ms  c  vote_reply(2 yes) from b
   1300 ms  a  heartbeat(2 commit 0) from c: leader_heard was=follower leader=c; transfer_done to=c leader=c;
                 → heartbeat_reply(2) to c; now follower in 2 of c
   1300 ms  b  heartbeat(2 commit 0) from c: leader_heard was=follower leader=c; → heartbeat_reply(2) to c;
                 now follower in 2 of c
   1300 ms  a  append(2 after 1/1: 2/2, commit 1) from c: durable 2/2; → append_reply(2 has 2) to c
   1300 ms  b  append(2 after 1/1: 2/2, commit 1) from c: durable 2/2; → append_reply(2 has 2) to c
   1300 ms  c  append_reply(2 has 2) from a: serving start=2; → heartbeat(2 commit 2) to a; applies 2;
                 now leader in 2, serving
   1300 ms  c  append_reply(2 has 2) from b: → heartbeat(2 commit 2) to b
   1300 ms  a  heartbeat(2 commit 2) from c: applies 2
   1300 ms  b  heartbeat(2 commit 2) from c: applies 2
> quietly run 3s
> show
  a: follower in 2 of c; log: 1 2; commit 2
  b: follower in 2 of c; log: 1 2; commit 2
  c: leader in 2, serving; log: 1 2; commit 2
