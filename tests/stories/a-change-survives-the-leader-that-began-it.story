A change survives the leader that began it

P57, Raft section 6. a crashes in the middle of a change that b has too. b finds it in its log, commits it with its own first
entry, and leaves the joint membership.

> cluster a b c
> quietly elect a
> change a to b c
    300 ms  a  change #1: membership_entered at=2 voters=b,c outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters b c, outgoing a b c], commit 1) to b c;
                 durable 2/1[voters b c, outgoing a b c]; #1 placed at 2/1
> deliver a->b append
    300 ms  b  append(1 after 1/1: 2/1[voters b c, outgoing a b c], commit 1) from a:
                 durable 2/1[voters b c, outgoing a b c]; → append_reply(1 has 2) to a
> crash a
    300 ms  a  crashes
> quietly drop
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: follower in 1 of a; log: 1 1; commit 1; voters b c, outgoing a b c
  c: follower in 1 of a; log: 1; commit 1
> quietly campaign b
> quietly deliver b->c
> quietly deliver c->b
> quietly deliver b->c vote
> deliver c->b
    650 ms  b  vote_reply(2 yes) from c: became_leader start=3; → heartbeat(2 commit 0) to a c;
                 → append(2 after 2/1: 3/2, commit 1) to a c; durable 3/2; now leader in 2
> settle
    650 ms  a  is down, so lost: pre_vote(2 last 2/1) from b
    650 ms  a  is down, so lost: vote(2 last 2/1) from b
    650 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    650 ms  a  is down, so lost: append(2 after 2/1: 3/2, commit 1) from b
    650 ms  c  append(2 after 2/1: 3/2, commit 1) from b: append_refused prev=2 hint=2 conflict=0;
                 → append_reply(2 no 2, try 2) to b
    650 ms  b  append_reply(2 no 2, try 2) from c:
                 → append(2 after 1/1: 2/1[voters b c, outgoing a b c] 3/2, commit 1) to c
    650 ms  c  append(2 after 1/1: 2/1[voters b c, outgoing a b c] 3/2, commit 1) from b:
                 durable 2/1[voters b c, outgoing a b c] 3/2; → append_reply(2 has 3) to b
    650 ms  b  append_reply(2 has 3) from c: membership_left at=4 voters=b,c outgoing=- learners=-;
                 serving start=3; → append(2 after 3/2: 4/2[voters b c], commit 3) to c;
                 durable 4/2[voters b c]; applies 2 3; now leader in 2, serving
    650 ms  c  append(2 after 3/2: 4/2[voters b c], commit 3) from b: durable 4/2[voters b c];
                 → append_reply(2 has 4) to b; applies 2 3
    650 ms  b  append_reply(2 has 4) from c: → heartbeat(2 commit 4) to c; applies 4
    650 ms  c  heartbeat(2 commit 4) from b: applies 4
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: leader in 2, serving; log: 1 1 2 2; commit 4; voters b c
  c: follower in 2 of b; log: 1 1 2 2; commit 4; voters b c
