A vote leaves only when it is durable

P51, Raft section 5.2. A vote that leaves before it is on the disk can be given twice: once before a power cut and once after it.
Then a term has two leaders.

> cluster a b c
> quietly campaign a
> cut c
> deliver a->b
    300 ms  b  pre_vote(1 last 0/0) from a: pre_vote_granted to=a asked=1; → pre_vote_reply(1 yes) to a
> deliver b->a
    300 ms  a  pre_vote_reply(1 yes) from b: pre_vote_won votes=2; durable term 1 vote a;
                 → vote(1 last 0/0) to b c (cut off); now candidate in 1
> stall b

b has decided, and its disk has not: nothing leaves.

> deliver a->b vote
    300 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 writing term 1 vote a
> settle
> show
  a: candidate in 1; log: empty; commit 0
  b: follower in 1; log: empty; commit 0; durable to 0
  c: follower in 0; log: empty; commit 0

> unstall b
    300 ms  b  the disk answers: durable term 1 vote a; → vote_reply(1 yes) to a; now follower in 1
> settle
    300 ms  a  vote_reply(1 yes) from b: became_leader start=1; → heartbeat(1 commit 0) to b c (cut off);
                 → append(1 after 0/0: 1/1, commit 0) to b c (cut off); durable 1/1; now leader in 1
    300 ms  b  heartbeat(1 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(1) to a;
                 now follower in 1 of a
    300 ms  b  append(1 after 0/0: 1/1, commit 0) from a: durable 1/1; → append_reply(1 has 1) to a
    300 ms  a  append_reply(1 has 1) from b: serving start=1; → heartbeat(1 commit 1) to b; applies 1;
                 now leader in 1, serving
    300 ms  b  heartbeat(1 commit 1) from a: applies 1
