An installed snapshot takes the logs place

Raft section 7. What c lacks is forgotten at a. c is sent the machine's state instead. All of it becomes durable in one write,
and then the machine is reset to it.

> cluster a b c limits compaction_tail=0
> quietly elect a
> cut c
> quietly propose a "x" "y"
> quietly settle
> snapshot a
    300 ms  a  snapshot at 3: snapshot_taken at=3 bytes=7; durable snapshot 3/1
> heal
> run 50ms
    350 ms  a  heartbeat_reply(1) from c: snapshot_sent to=c at=3 bytes=7;
                 → install_snapshot(1 3/1 bytes 0..7 of 7) to c
    350 ms  c  install_snapshot(1 3/1 bytes 0..7 of 7) from a: snapshot_installed at=3 bytes=7;
                 durable piece 0..7 of 3/1, snapshot 3/1; → append_reply(1 has 3) to a;
                 machine reset to 3 "state@3"
    350 ms  a  append_reply(1 has 3) from c: → heartbeat(1 commit 3) to c
> propose a "z"
    350 ms  a  propose #3 "z": → append(1 after 3/1: 4/1"z", commit 3) to b c; durable 4/1"z";
                 #3 placed at 4/1
> deliver a->c
    350 ms  c  append(1 after 3/1: 4/1"z", commit 3) from a: durable 4/1"z"; → append_reply(1 has 4) to a
> show
  a: leader in 1, serving; log from 4: 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 3
  c: follower in 1 of a; log from 4: 1; commit 3
