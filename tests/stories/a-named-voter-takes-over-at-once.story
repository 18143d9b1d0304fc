A named voter takes over at once

P53, dissertation 3.10. a hands over to c, which has everything. c asks without a pre-vote, and b votes for it although b hears
a: the leader itself asked for this.

> cluster a b c
> quietly elect a
> transfer a to c
    300 ms  a  transfer #1 to c: transfer_started to=c; transfer_sent to=c; → timeout_now(1) to c
> settle
    300 ms  c  timeout_now(1) from a: campaign_handed_over last=1; durable term 2 vote c;
                 → vote(2 last 1/1 handed over) to a b; now candidate in 2
    300 ms  a  vote(2 last 1/1 handed over) from c: higher_term was=leader to=2; vote_granted to=c;
                 durable term 2 vote c; → vote_reply(2 yes) to c; now follower in 2
    300 ms  b  vote(2 last 1/1 handed over) from c: higher_term was=follower to=2; vote_granted to=c;
                 durable term 2 vote c; → vote_reply(2 yes) to c; now follower in 2
    300 ms  c  vote_reply(2 yes) from a: became_leader start=2; → heartbeat(2 commit 0) to a b;
                 → append(2 after 1/1: 2/2, commit 1) to a b; durable 2/2; now leader in 2
    300 ms  c  vote_reply(2 yes) from b
    300 ms  a  heartbeat(2 commit 0) from c: leader_heard was=follower leader=c; transfer_done to=c leader=c;
                 → heartbeat_reply(2) to c; #1 transferred; now follower in 2 of c
    300 ms  b  heartbeat(2 commit 0) from c: leader_heard was=follower leader=c; → heartbeat_reply(2) to c;
                 now follower in 2 of c
    300 ms  a  append(2 after 1/1: 2/2, commit 1) from c: durable 2/2; → append_reply(2 has 2) to c
    300 ms  b  append(2 after 1/1: 2/2, commit 1) from c: durable 2/2; → append_reply(2 has 2) to c
    300 ms  c  append_reply(2 has 2) from a: serving start=2; → heartbeat(2 commit 2) to a; applies 2;
                 now leader in 2, serving
    300 ms  c  append_reply(2 has 2) from b: → heartbeat(2 commit 2) to b
    300 ms  a  heartbeat(2 commit 2) from c: applies 2
    300 ms  b  heartbeat(2 commit 2) from c: applies 2
> show
  a: follower in 2 of c; log: 1 2; commit 2
  b: follower in 2 of c; log: 1 2; commit 2
  c: leader in 2, serving; log: 1 2; commit 2
