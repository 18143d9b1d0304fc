Who alone knows of its removal may lead once more

P57, dissertation 4.2.2. a has the membership without itself in its log, and b has not. b needs a's vote and does not get it,
because its log is behind. So a may lead until that membership is committed, or nobody ever could.

> cluster a b
> quietly elect a
> change a to b
    300 ms  a  change #1: membership_entered at=2 voters=b outgoing=a,b learners=-;
                 → append(1 after 1/1: 2/1[voters b, outgoing a b], commit 1) to b;
                 durable 2/1[voters b, outgoing a b]; #1 placed at 2/1
> deliver a->b
    300 ms  b  append(1 after 1/1: 2/1[voters b, outgoing a b], commit 1) from a:
                 durable 2/1[voters b, outgoing a b]; → append_reply(1 has 2) to a
> deliver b->a
    300 ms  a  append_reply(1 has 2) from b: membership_left at=3 voters=b outgoing=- learners=-;
                 → append(1 after 2/1: 3/1[voters b], commit 2) to b; durable 3/1[voters b]; applies 2
> crash a
    300 ms  a  crashes
> quietly drop
> restart a
    300 ms  a  starts: now follower in 1
> show
  a: follower in 1; log: 1 1 1; commit 0; voters b
  b: follower in 1 of a; log: 1 1; commit 1; voters b, outgoing a b
> campaign b
    650 ms  b  alarm: campaign_timeout last=2; → pre_vote(2 last 2/1) to a; now pre_candidate in 1
> settle
    650 ms  a  pre_vote(2 last 2/1) from b: pre_vote_refused_log to=b asked=2; → pre_vote_reply(1 no) to b
    650 ms  b  pre_vote_reply(1 no) from a
> elect a
    650 ms  a  alarm: campaign_timeout last=3; → pre_vote(2 last 3/1) to b; now pre_candidate in 1
    650 ms  b  pre_vote(2 last 3/1) from a: pre_vote_granted to=a asked=2; → pre_vote_reply(2 yes) to a
    650 ms  a  pre_vote_reply(2 yes) from b: pre_vote_won votes=2; durable term 2 vote a;
                 → vote(2 last 3/1) to b; now candidate in 2
    650 ms  b  vote(2 last 3/1) from a: higher_term was=pre_candidate to=2; vote_granted to=a;
                 durable term 2 vote a; → vote_reply(2 yes) to a; now follower in 2
    650 ms  a  vote_reply(2 yes) from b: became_leader start=4; → heartbeat(2 commit 0) to b;
                 → append(2 after 3/1: 4/2, commit 0) to b; durable 4/2; now leader in 2
    650 ms  b  heartbeat(2 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(2) to a;
                 now follower in 2 of a
    650 ms  b  append(2 after 3/1: 4/2, commit 0) from a: append_refused prev=3 hint=3 conflict=0;
                 → append_reply(2 no 3, try 3) to a
    650 ms  a  append_reply(2 no 3, try 3) from b: → append(2 after 2/1: 3/1[voters b] 4/2, commit 0) to b
    650 ms  b  append(2 after 2/1: 3/1[voters b] 4/2, commit 0) from a: durable 3/1[voters b] 4/2;
                 → append_reply(2 has 4) to a
    650 ms  a  append_reply(2 has 4) from b: removed was=leader to=2; → timeout_now(2) to b; applies 1 2 3 4;
                 now follower in 2
    650 ms  b  timeout_now(2) from a: campaign_handed_over last=4; durable term 3 vote b; now candidate in 3;
                 became_leader start=5; durable 5/3; now leader in 3; serving start=5; applies 2 3 4 5;
                 now leader in 3, serving
> show
  a: follower in 2; log: 1 1 1 2; commit 4; voters b
  b: leader in 3, serving; log: 1 1 1 2 3; commit 5; voters b
