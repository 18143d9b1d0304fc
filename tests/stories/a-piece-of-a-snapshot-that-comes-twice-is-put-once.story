A piece of a snapshot that comes twice is put once

Raft section 7. The first piece arrives twice. c puts each piece where it belongs, so the second copy does not fit any more.
Its reply is no news to the leader, which sends one piece and not two.

> cluster a b c limits compaction_tail=0 snapshot_chunk_bytes=4
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> quietly snapshot a
> heal
> wait 50ms
> quietly deliver a->c
> deliver c->a
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=2 bytes=7;
                 → install_snapshot(1 2/1 bytes 0..4 of 7) to c
> duplicate a->c
> deliver a->c
    350 ms  c  install_snapshot(1 2/1 bytes 0..4 of 7) from a: durable piece 0..4 of 2/1;
                 → install_snapshot_reply(1 2 has 4 bytes) to a
    350 ms  c  install_snapshot(1 2/1 bytes 0..4 of 7) from a:
                 → install_snapshot_reply(1 2 has 4 bytes) to a
> quietly deliver c->a
> deliver a->c
    350 ms  c  install_snapshot(1 2/1 bytes 4..7 of 7) from a: snapshot_installed at=2 bytes=7;
                 durable piece 4..7 of 2/1, snapshot 2/1; → append_reply(1 has 2) to a;
                 machine reset to 2 "state@2"
> show
  a: leader in 1, serving; log from 3: empty; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  c: follower in 1 of a; log from 3: empty; commit 2
