A snapshot brings its membership

Raft section 7. The change by which d came is forgotten, and c never saw it. The snapshot says who votes: from here on c asks
the right ones.

> cluster a b c learners d limits compaction_tail=0
> quietly elect a
> cut c
> quietly change a to a b c d
> quietly settle
> quietly snapshot a
> show
  a: leader in 1, serving; log from 4: empty; commit 3; voters a b c d
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b c d
  c: follower in 1 of a; log: 1; commit 1
  d: follower in 1 of a; log: 1 1 1; commit 3; voters a b c d
> heal
> run 50ms
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=3 bytes=7;
                 → install_snapshot(1 3/1 bytes 0..7 of 7) to c
    350 ms  c  install_snapshot(1 3/1 bytes 0..7 of 7) from a: snapshot_installed at=3 bytes=7;
                 durable piece 0..7 of 3/1, snapshot 3/1; → append_reply(1 has 3) to a;
                 machine reset to 3 "state@3"
    350 ms  a  append_reply(1 has 3) from c: → heartbeat(1 commit 3) to c
> show
  a: leader in 1, serving; log from 4: empty; commit 3; voters a b c d
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b c d
  c: follower in 1 of a; log from 4: empty; commit 3; voters a b c d
  d: follower in 1 of a; log: 1 1 1; commit 3; voters a b c d
