Half a snapshot is thrown away with its leader

Raft section 7. The next leader may have another snapshot, or none. What c has of the old one is of no use, and never became
durable.

> cluster a b c limits compaction_tail=0 snapshot_chunk_bytes=4
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> quietly snapshot a
> heal
> wait 50ms
> deliver a->c
    350 ms  c  heartbeat(1 commit 1) from a: → heartbeat_reply(1) to a
> deliver c->a
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=2 bytes=7;
                 → install_snapshot(1 2/1 bytes 0..4 of 7) to c
> deliver a->c
    350 ms  c  install_snapshot(1 2/1 bytes 0..4 of 7) from a: durable piece 0..4 of 2/1;
                 → install_snapshot_reply(1 2 has 4 bytes) to a
> crash a
    350 ms  a  crashes
> quietly drop
> quietly campaign b
> settle
    650 ms  a  is down, so lost: pre_vote(2 last 2/1) from b
    650 ms  c  pre_vote(2 last 2/1) from b: pre_vote_granted to=b asked=2; → pre_vote_reply(2 yes) to b
    650 ms  b  pre_vote_reply(2 yes) from c: pre_vote_won votes=2; durable term 2 vote b;
                 → vote(2 last 2/1) to a c; now candidate in 2
    650 ms  a  is down, so lost: vote(2 last 2/1) from b
    650 ms  c  vote(2 last 2/1) from b: higher_term was=follower to=2; snapshot_discarded at=2 received=4;
                 vote_granted to=b; durable term 2 vote b; → vote_reply(2 yes) to b; now follower in 2
    650 ms  b  vote_reply(2 yes) from c: became_leader start=3; → heartbeat(2 commit 0) to a c;
                 → append(2 after 2/1: 3/2, commit 2) to a c; durable 3/2; now leader in 2
    650 ms  c  heartbeat(2 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    650 ms  a  is down, so lost: append(2 after 2/1: 3/2, commit 2) from b
    650 ms  c  append(2 after 2/1: 3/2, commit 2) from b: append_refused prev=2 hint=2 conflict=0;
                 → append_reply(2 no 2, try 2) to b
    650 ms  b  append_reply(2 no 2, try 2) from c: → append(2 after 1/1: 2/1"x" 3/2, commit 2) to c
    650 ms  c  append(2 after 1/1: 2/1"x" 3/2, commit 2) from b: durable 2/1"x" 3/2;
                 → append_reply(2 has 3) to b; applies 2"x"
    650 ms  b  append_reply(2 has 3) from c: serving start=3; → heartbeat(2 commit 3) to c; applies 3;
                 now leader in 2, serving
    650 ms  c  heartbeat(2 commit 3) from b: applies 3
> show
  a: down; on disk: term 1 vote a; log from 3: empty
  b: leader in 2, serving; log: 1 1 2; commit 3
  c: follower in 2 of b; log: 1 1 2; commit 3
