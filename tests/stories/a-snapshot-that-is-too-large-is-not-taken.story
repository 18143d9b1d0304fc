A snapshot that is too large is not taken

P77, Raft section 7. A size is what somebody says. c keeps room for as much as its limit allows, and takes nothing of what
claims to be larger.

> cluster a b c limits compaction_tail=0 snapshot_bytes_max=6
> quietly elect a
> cut c
> quietly propose a "x"
> quietly settle
> snapshot a
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
> heal
> run 50ms
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=2 bytes=7;
                 → install_snapshot(1 2/1 bytes 0..7 of 7) to c
    350 ms  c  install_snapshot(1 2/1 bytes 0..7 of 7) from a: snapshot_chunk_bad at=2 size=7
> show
  a: leader in 1, serving; log from 3: empty; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  c: follower in 1 of a; log: 1; commit 1
