A restart begins from the snapshot

P51, Raft section 7. a's disk holds a snapshot and the entries after it. The next life resets its machine to the one, and has
the others in its log.

> cluster a b c limits compaction_tail=0
> quietly elect a
> quietly propose a "x" "y"
> quietly settle
> snapshot a at 2
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
> propose a "z"
    300 ms  a  propose #3 "z": → append(1 after 3/1: 4/1"z", commit 3) to b c; durable 4/1"z";
                 #3 placed at 4/1
> settle
    300 ms  b  append(1 after 3/1: 4/1"z", commit 3) from a: durable 4/1"z"; → append_reply(1 has 4) to a
    300 ms  c  append(1 after 3/1: 4/1"z", commit 3) from a: durable 4/1"z"; → append_reply(1 has 4) to a
    300 ms  a  append_reply(1 has 4) from b: → heartbeat(1 commit 4) to b; applies 4"z"
    300 ms  a  append_reply(1 has 4) from c: → heartbeat(1 commit 4) to c
    300 ms  b  heartbeat(1 commit 4) from a: applies 4"z"
    300 ms  c  heartbeat(1 commit 4) from a: applies 4"z"
> crash a
    300 ms  a  crashes
> show
  a: down; on disk: term 1 vote a; log from 3: 1 1
  b: follower in 1 of a; log: 1 1 1 1; commit 4
  c: follower in 1 of a; log: 1 1 1 1; commit 4
> restart a
    300 ms  a  starts: machine reset to 2 "state@2"; now follower in 1
> quietly elect a
> show
  a: leader in 2, serving; log from 3: 1 1 2; commit 5
  b: follower in 2 of a; log: 1 1 1 1 2; commit 5
  c: follower in 2 of a; log: 1 1 1 1 2; commit 5
