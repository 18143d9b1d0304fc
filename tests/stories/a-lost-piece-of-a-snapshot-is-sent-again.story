A lost piece of a snapshot is sent again

Raft section 7, figure 13. The snapshot travels in pieces, one at a time. One that is not answered for a heartbeat interval is
sent again from where c stands.

> cluster a b c limits compaction_tail=0 snapshot_chunk_bytes=4
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> snapshot a
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
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
> deliver c->a
    350 ms  a  install_snapshot_reply(1 2 has 4 bytes) from c:
                 → install_snapshot(1 2/1 bytes 4..7 of 7) to c
> drop a->c install_snapshot
> run 50ms
    400 ms  a  heartbeat_reply(1) from c: → install_snapshot(1 2/1 bytes 4..7 of 7) to c
    400 ms  c  install_snapshot(1 2/1 bytes 4..7 of 7) from a: snapshot_installed at=2 bytes=7;
                 durable piece 4..7 of 2/1, snapshot 2/1; → append_reply(1 has 2) to a;
                 machine reset to 2 "state@2"
    400 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to c
> show
  a: leader in 1, serving; log from 3: empty; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  c: follower in 1 of a; log from 3: empty; commit 2
