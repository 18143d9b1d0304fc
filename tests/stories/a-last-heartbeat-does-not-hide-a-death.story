A last heartbeat does not hide a death

Dissertation 9.6. a's last heartbeat was on its way when its connection closed, and arrives after the news. b follows it, and
keeps its doubt: it does not wait for an election timeout again.

> cluster a b c
> quietly elect a
> quietly run 50ms
> wait 50ms
> hold a->
> crash a
    400 ms  a  crashes
> hint b lost a
    400 ms  b  lost the connection to a: leader_forgotten leader=a rank=0; now follower in 1
> hint c lost a
    400 ms  c  lost the connection to a: leader_forgotten leader=a rank=1; now follower in 1
> deliver a-> heartbeat
    400 ms  b  heartbeat(1 commit 1) from a: leader_doubted leader=a; leader_heard was=follower leader=a;
                 → heartbeat_reply(1) to a; now follower in 1 of a
    400 ms  c  heartbeat(1 commit 1) from a: leader_doubted leader=a; leader_heard was=follower leader=a;
                 → heartbeat_reply(1) to a; now follower in 1 of a
> quietly settle
> run 120ms
    500 ms  b  alarm: campaign_hint last=1; → pre_vote(2 last 1/1) to a c; now pre_candidate in 1
    500 ms  a  is down, so lost: pre_vote(2 last 1/1) from b
    500 ms  c  pre_vote(2 last 1/1) from b: pre_vote_granted to=b asked=2; → pre_vote_reply(2 yes) to b
    500 ms  b  pre_vote_reply(2 yes) from c: pre_vote_won votes=2; durable term 2 vote b;
                 → vote(2 last 1/1) to a c; now candidate in 2
    500 ms  a  is down, so lost: vote(2 last 1/1) from b
    500 ms  c  vote(2 last 1/1) from b: higher_term was=follower to=2; vote_granted to=b;
                 durable term 2 vote b; → vote_reply(2 yes) to b; now follower in 2
    500 ms  b  vote_reply(2 yes) from c: became_leader start=2; → heartbeat(2 commit 0) to a c;
                 → append(2 after 1/1: 2/2, commit 1) to a c; durable 2/2; now leader in 2
    500 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    500 ms  a  is down, so lost: append(2 after 1/1: 2/2, commit 1) from b
    500 ms  c  append(2 after 1/1: 2/2, commit 1) from b: durable 2/2; → append_reply(2 has 2) to b
    500 ms  b  append_reply(2 has 2) from c: serving start=2; → heartbeat(2 commit 2) to c; applies 2;
                 now leader in 2, serving
    500 ms  c  heartbeat(2 commit 2) from b: applies 2
> show
  a: down; on disk: term 1 vote a; log: 1
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
