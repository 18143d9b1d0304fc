A snapshot takes memberships of the log away with it

P57, Raft section 7. a began a change that reached nobody. The next leader has a snapshot that ends before that entry and
contradicts what a has before it. With a's log goes the change.

> cluster a b c learners d limits compaction_tail=0
> quietly elect a
> cut a
> quietly propose a "u" "v" "w"
> quietly change a to a b c d
> quietly run 300ms
> quietly elect b
> quietly propose b "x"
> quietly settle
> snapshot b
    650 ms  b  snapshot at 3: snapshot_taken at=3 bytes=7; durable snapshot 3/2
> show
  a: follower in 1; log: 1 1 1 1 1; commit 1; voters a b c d, outgoing a b c
  b: leader in 2, serving; log from 4: empty; commit 3
  c: follower in 2 of b; log: 1 2 2; commit 3
  d: follower in 2 of b; log: 1 2 2; commit 3
> heal
> run 50ms
    700 ms  a  heartbeat(2 commit 0) from b: higher_term was=follower to=2;
                 leader_heard was=follower leader=b; durable term 2 vote -; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    700 ms  b  heartbeat_reply(2) from a: snapshot_sent to=a at=3 bytes=7;
                 → install_snapshot(2 3/2 bytes 0..7 of 7) to a
    700 ms  a  install_snapshot(2 3/2 bytes 0..7 of 7) from b: snapshot_installed at=3 bytes=7;
                 durable piece 0..7 of 3/2, snapshot 3/2, cut from 4; → append_reply(2 has 3) to b;
                 machine reset to 3 "state@3"
    700 ms  b  append_reply(2 has 3) from a: → heartbeat(2 commit 3) to a
> show
  a: follower in 2 of b; log from 4: empty; commit 3
  b: leader in 2, serving; log from 4: empty; commit 3
  c: follower in 2 of b; log: 1 2 2; commit 3
  d: follower in 2 of b; log: 1 2 2; commit 3
