A vote that was written binds after a crash

P51. b crashes while it writes its vote for a, and here the write had reached the disk. Nobody was told, and still the vote stands:
the next life of b refuses c.

> cluster a b c
> quietly campaign a
> quietly deliver a->b
> quietly campaign c
> quietly deliver c->b
> quietly deliver b->a
> quietly deliver b->c
> stall b
> deliver a->b vote
    400 ms  b  vote(1 last 0/0) from a: higher_term was=follower to=1; vote_granted to=a;
                 writing term 1 vote a
> crash b after write
    400 ms  b  crashes after the write: durable term 1 vote a
> unstall b
> show
  a: candidate in 1; log: empty; commit 0
  b: down; on disk: term 1 vote a; log: empty
  c: candidate in 1; log: empty; commit 0
> restart b
    400 ms  b  starts: now follower in 1
> deliver c->b vote
    400 ms  b  vote(1 last 0/0) from c: vote_refused_taken to=c voted=a; → vote_reply(1 no) to c
> deliver b->c
    400 ms  c  vote_reply(1 no) from b

A vote for a again is no second vote.

> elect a
    700 ms  a  alarm: campaign_timeout last=0; → pre_vote(2 last 0/0) to b c; now pre_candidate in 1
    700 ms  c  pre_vote(1 last 0/0) from a: pre_vote_refused_term to=a asked=1; → pre_vote_reply(1 no) to a
    700 ms  a  pre_vote(1 last 0/0) from c: pre_vote_refused_term to=c asked=1; → pre_vote_reply(1 no) to c
    700 ms  c  vote(1 last 0/0) from a: vote_refused_taken to=a voted=c; → vote_reply(1 no) to a
    700 ms  a  vote(1 last 0/0) from c: vote_refused_taken to=c voted=a; → vote_reply(1 no) to c
    700 ms  b  pre_vote(2 last 0/0) from a: pre_vote_granted to=a asked=2; → pre_vote_reply(2 yes) to a
    700 ms  c  pre_vote(2 last 0/0) from a: pre_vote_granted to=a asked=2; → pre_vote_reply(2 yes) to a
    700 ms  a  pre_vote_reply(1 no) from c
    700 ms  c  pre_vote_reply(1 no) from a
    700 ms  a  vote_reply(1 no) from c
    700 ms  c  vote_reply(1 no) from a: vote_lost was=candidate to=1; now follower in 1
    700 ms  a  pre_vote_reply(2 yes) from b: pre_vote_won votes=2; durable term 2 vote a;
                 → vote(2 last 0/0) to b c; now candidate in 2
    700 ms  a  pre_vote_reply(2 yes) from c
    700 ms  b  vote(2 last 0/0) from a: higher_term was=follower to=2; vote_granted to=a;
                 durable term 2 vote a; → vote_reply(2 yes) to a; now follower in 2
    700 ms  c  vote(2 last 0/0) from a: higher_term was=follower to=2; vote_granted to=a;
                 durable term 2 vote a; → vote_reply(2 yes) to a; now follower in 2
    700 ms  a  vote_reply(2 yes) from b: became_leader start=1; → heartbeat(2 commit 0) to b c;
                 → append(2 after 0/0: 1/2, commit 0) to b c; durable 1/2; now leader in 2
    700 ms  a  vote_reply(2 yes) from c
    700 ms  b  heartbeat(2 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(2) to a;
                 now follower in 2 of a
    700 ms  c  heartbeat(2 commit 0) from a: leader_heard was=follower leader=a; → heartbeat_reply(2) to a;
                 now follower in 2 of a
    700 ms  b  append(2 after 0/0: 1/2, commit 0) from a: durable 1/2; → append_reply(2 has 1) to a
    700 ms  c  append(2 after 0/0: 1/2, commit 0) from a: durable 1/2; → append_reply(2 has 1) to a
    700 ms  a  append_reply(2 has 1) from b: serving start=1; → heartbeat(2 commit 1) to b; applies 1;
                 now leader in 2, serving
    700 ms  a  append_reply(2 has 1) from c: → heartbeat(2 commit 1) to c
    700 ms  b  heartbeat(2 commit 1) from a: → heartbeat_reply(2) to a; applies 1
    700 ms  c  heartbeat(2 commit 1) from a: → heartbeat_reply(2) to a; applies 1
> show
  a: leader in 2, serving; log: 2; commit 1
  b: follower in 2 of a; log: 2; commit 1
  c: follower in 2 of a; log: 2; commit 1
