A log that agrees keeps what follows a snapshot

Raft section 7. b has written all entries, and its answers are lost. a has forgotten them meanwhile and sends its snapshot. b
throws nothing away: its log agrees with the snapshot, so only the commit index moves.

> cluster a b c limits compaction_tail=0
> quietly elect a
> quietly propose a "x" "y"
> quietly deliver a->c
> quietly deliver c->a
> snapshot a at 2
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
> deliver a->b append
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  b  append(1 after 2/1: 3/1"y", commit 1) from a: durable 3/1"y"; → append_reply(1 has 3) to a
> drop b->a append_reply
> show
  a: leader in 1, serving; log from 3: 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 1
  c: follower in 1 of a; log: 1 1 1; commit 1
> run 50ms
    300 ms  c  heartbeat(1 commit 2) from a: applies 2"x"
    300 ms  c  heartbeat(1 commit 3) from a: applies 3"y"
    350 ms  a  heartbeat_reply(1) from b: snapshot_sent to=b at=2 bytes=7;
                 → install_snapshot(1 2/1 bytes 0..7 of 7) to b
    350 ms  b  install_snapshot(1 2/1 bytes 0..7 of 7) from a: snapshot_kept_suffix at=2;
                 → append_reply(1 has 2) to a; applies 2"x"
    350 ms  a  append_reply(1 has 2) from b: → append(1 after 2/1: 3/1"y", commit 3) to b
    350 ms  b  append(1 after 2/1: 3/1"y", commit 3) from a: → append_reply(1 has 3) to a; applies 3"y"
    350 ms  a  append_reply(1 has 3) from b
> show
  a: leader in 1, serving; log from 3: 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 3
  c: follower in 1 of a; log: 1 1 1; commit 3
