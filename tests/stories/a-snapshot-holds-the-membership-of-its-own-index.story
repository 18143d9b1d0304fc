A snapshot holds the membership of its own index

P57, Raft section 7. The change came after what the snapshot stands for. c takes the membership of then with the snapshot, and
the one of now with the entries that follow.

> cluster a b c learners d limits compaction_tail=0
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> quietly change a to a b c d
> quietly settle
> snapshot a at 2
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
> heal
> wait 50ms
> quietly deliver a->c
> deliver c->a
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=2 bytes=7;
                 → install_snapshot(1 2/1 bytes 0..7 of 7) to c
> deliver a->c
    350 ms  c  install_snapshot(1 2/1 bytes 0..7 of 7) from a: snapshot_installed at=2 bytes=7;
                 durable piece 0..7 of 2/1, snapshot 2/1; → append_reply(1 has 2) to a;
                 machine reset to 2 "state@2"
> show
  a: leader in 1, serving; log from 3: 1 1; commit 4; voters a b c d
  b: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  c: follower in 1 of a; log from 3: empty; commit 2
  d: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
> settle
    350 ms  a  append_reply(1 has 2) from c:
                 → append(1 after 2/1: 3/1[voters a b c d, outgoing a b c] 4/1[voters a b c d], commit 4) to c
    350 ms  c  append(1 after 2/1: 3/1[voters a b c d, outgoing a b c] 4/1[voters a b c d], commit 4) from a:
                 durable 3/1[voters a b c d, outgoing a b c] 4/1[voters a b c d];
                 → append_reply(1 has 4) to a; applies 3 4
    350 ms  a  append_reply(1 has 4) from c
> show
  a: leader in 1, serving; log from 3: 1 1; commit 4; voters a b c d
  b: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  c: follower in 1 of a; log from 3: 1 1; commit 4; voters a b c d
  d: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
