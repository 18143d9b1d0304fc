A removed leader steps down once its removal is committed

P57, dissertation 4.2.2. a leads the change that removes it, counts itself in no majority of the new voters, and goes when that
is committed. It asks the one who has most to take over, so that nobody has to wait for an election timeout.

> cluster a b c
> quietly elect a
> change a to b c
    300 ms  a  change #1: membership_entered at=2 voters=b,c outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters b c, outgoing a b c], commit 1) to b c;
                 durable 2/1[voters b c, outgoing a b c]; #1 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1[voters b c, outgoing a b c], commit 1) from a:
                 durable 2/1[voters b c, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1[voters b c, outgoing a b c], commit 1) from a:
                 durable 2/1[voters b c, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b
    300 ms  a  append_reply(1 has 2) from c: membership_left at=3 voters=b,c outgoing=- learners=-;
                 → append(1 after 2/1: 3/1[voters b c], commit 2) to b c; durable 3/1[voters b c]; applies 2
    300 ms  b  append(1 after 2/1: 3/1[voters b c], commit 2) from a: durable 3/1[voters b c];
                 → append_reply(1 has 3) to a; applies 2
    300 ms  c  append(1 after 2/1: 3/1[voters b c], commit 2) from a: durable 3/1[voters b c];
                 → append_reply(1 has 3) to a; applies 2
    300 ms  a  append_reply(1 has 3) from b
    300 ms  a  append_reply(1 has 3) from c: removed was=leader to=1; → timeout_now(1) to b; applies 3;
                 now follower in 1
    300 ms  b  timeout_now(1) from a: campaign_handed_over last=3; durable term 2 vote b;
                 → vote(2 last 3/1 handed over) to c; now candidate in 2
    300 ms  c  vote(2 last 3/1 handed over) from b: higher_term was=follower to=2; vote_granted to=b;
                 durable term 2 vote b; → vote_reply(2 yes) to b; now follower in 2
    300 ms  b  vote_reply(2 yes) from c: became_leader start=4; → heartbeat(2 commit 0) to c;
                 → append(2 after 3/1: 4/2, commit 2) to c; durable 4/2; now leader in 2
    300 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    300 ms  c  append(2 after 3/1: 4/2, commit 2) from b: durable 4/2; → append_reply(2 has 4) to b
    300 ms  b  append_reply(2 has 4) from c: serving start=4; → heartbeat(2 commit 4) to c; applies 3 4;
                 now leader in 2, serving
    300 ms  c  heartbeat(2 commit 4) from b: applies 3 4
> show
  a: follower in 1; log: 1 1 1; commit 3; voters b c
  b: leader in 2, serving; log: 1 1 1 2; commit 4; voters b c
  c: follower in 2 of b; log: 1 1 1 2; commit 4; voters b c
