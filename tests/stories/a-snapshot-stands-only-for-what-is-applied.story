A snapshot stands only for what is applied

Raft section 7. What is not applied may still be replaced, and what is older than the newest snapshot is forgotten: neither is
taken.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> snapshot a at 2
    300 ms  a  snapshot at 2: snapshot_refused at=2 applied=1 newest=0
> quietly settle
> snapshot a at 2
    300 ms  a  snapshot at 2: snapshot_taken at=2 bytes=7; durable snapshot 2/1
> snapshot a at 1
    300 ms  a  snapshot at 1: snapshot_refused at=1 applied=2 newest=2
> show
  a: leader in 1, serving; log: 1 1; commit 2
  b: follower in 1 of a; log: 1 1; commit 2
  c: follower in 1 of a; log: 1 1; commit 2
