An idle leader tries its disk

P56. Without this, a disk that stalls while nobody writes would be noticed only at the next write. A leader that has written
nothing for an election timeout writes what is there already.

> cluster a b c
> quietly elect a
> run 250ms
> stall a
> run 650ms
    600 ms  a  alarm: → heartbeat(1 commit 1) to b c; writing term 1 vote a
    950 ms  b  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a c; now pre_candidate in 1
    950 ms  a  pre_vote(2 last 1/1) from b: waits for the disk
    950 ms  c  pre_vote(2 last 1/1) from b: pre_vote_granted to=b asked=2; → pre_vote_reply(2 yes) to b
    950 ms  b  pre_vote_reply(2 yes) from c: pre_vote_won votes=2; durable term 2 vote b;
                 → vote(2 last 1/1) to a c; now candidate in 2
    950 ms  a  vote(2 last 1/1) from b: waits for the disk
    950 ms  c  vote(2 last 1/1) from b: higher_term was=follower to=2; vote_granted to=b;
                 durable term 2 vote b; → vote_reply(2 yes) to b; now follower in 2
    950 ms  b  vote_reply(2 yes) from c: became_leader start=2; → heartbeat(2 commit 0) to a c;
                 → append(2 after 1/1: 2/2, commit 1) to a c; durable 2/2; now leader in 2
    950 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    950 ms  a  append(2 after 1/1: 2/2, commit 1) from b: waits for the disk
    950 ms  c  append(2 after 1/1: 2/2, commit 1) from b: durable 2/2; → append_reply(2 has 2) to b
    950 ms  b  append_reply(2 has 2) from c: serving start=2; → heartbeat(2 commit 2) to c; applies 2;
                 now leader in 2, serving
    950 ms  c  heartbeat(2 commit 2) from b: applies 2
> show
  a: follower in 2 of b; log: 1 2; commit 1; durable to 1
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
