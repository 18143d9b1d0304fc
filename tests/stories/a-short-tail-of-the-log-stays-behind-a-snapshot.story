A short tail of the log stays behind a snapshot

Raft section 7. Who is a little late is sent what it lacks, not the whole state: the last entries before a snapshot are kept.

> cluster a b c limits compaction_tail=2
> quietly elect a
> quietly propose a "w" "x" "y"
> quietly settle
> cut c
> quietly propose a "z"
> quietly settle
> snapshot a
    300 ms  a  snapshot at 5: snapshot_taken at=5 bytes=7; durable snapshot 5/1
> show
  a: leader in 1, serving; log from 4: 1 1; commit 5
  b: follower in 1 of a; log: 1 1 1 1 1; commit 5
  c: follower in 1 of a; log: 1 1 1 1; commit 4
> heal
> run 50ms
    350 ms  a  heartbeat_reply(1) from c: → append(1 after 4/1: 5/1"z", commit 5) to c
    350 ms  c  append(1 after 4/1: 5/1"z", commit 5) from a: durable 5/1"z"; → append_reply(1 has 5) to a;
                 applies 5"z"
    350 ms  a  append_reply(1 has 5) from c
