A fresh cluster elects whoever times out first

Raft section 5.2. A node that hears no leader asks first whether it would win (pre-vote), then takes a new term, makes its own
vote durable, and asks for votes. Its first entry holds nothing; once that is committed and applied, it serves.

> cluster a b c
> campaign a
    300 ms  a  alarm: campaign_timeout last=0; → pre_vote(1 last 0/0) to b c; now pre_candidate in 0

The first answer is enough: with its own vote that makes two of three.

> deliver a->b
    300 ms  b  pre_vote(1 last 0/0) from a: pre_vote_granted to=a asked=1; → pre_vote_reply(1 yes) to a
> deliver b->a
    300 ms  a  pre_vote_reply(1 yes) from b: pre_vote_won votes=2; durable term 1 vote a;
                 → vote(1 last 0/0) to b c; now candidate in 1
> deliver a->b
    300 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 durable term 1 vote a; → vote_reply(1 yes) to a; now follower in 1
> deliver b->a
    300 ms  a  vote_reply(1 yes) from b: became_leader start=1; → heartbeat(1 commit 0) to b c;
                 → append(1 after 0/0: 1/1, commit 0) to b c; durable 1/1; now leader in 1
> settle
    300 ms  c  pre_vote(1 last 0/0) from a: pre_vote_granted to=a asked=1; → pre_vote_reply(1 yes) to a
    300 ms  c  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 durable term 1 vote a; → vote_reply(1 yes) to a; now follower in 1
    300 ms  b  heartbeat(1 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(1) to a;
                 now follower in 1 of a
    300 ms  c  heartbeat(1 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(1) to a;
                 now follower in 1 of a
    300 ms  b  append(1 after 0/0: 1/1, commit 0) from a: durable 1/1; → append_reply(1 has 1) to a
    300 ms  c  append(1 after 0/0: 1/1, commit 0) from a: durable 1/1; → append_reply(1 has 1) to a
    300 ms  a  pre_vote_reply(1 yes) from c
    300 ms  a  vote_reply(1 yes) from c
    300 ms  a  append_reply(1 has 1) from b: serving start=1; → heartbeat(1 commit 1) to b; applies 1;
                 now leader in 1, serving
    300 ms  a  append_reply(1 has 1) from c: → heartbeat(1 commit 1) to c
    300 ms  b  heartbeat(1 commit 1) from a: applies 1
    300 ms  c  heartbeat(1 commit 1) from a: applies 1
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
