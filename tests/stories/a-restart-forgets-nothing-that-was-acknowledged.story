A restart forgets nothing that was acknowledged

P51, Raft section 5.2. All of them lose their memory at one time, and their disks have it all: term, vote and log. What is
committed is found out anew by the next leader.

> cluster a b c
> quietly elect a
> quietly propose a "x"
> quietly settle
> crash a
    300 ms  a  crashes
> crash b
    300 ms  b  crashes
> crash c
    300 ms  c  crashes
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: down; on disk: term 1 vote a; log: 1 1
  c: down; on disk: term 1 vote a; log: 1 1
> restart a
    300 ms  a  starts: now follower in 1
> restart b
    300 ms  b  starts: now follower in 1
> restart c
    300 ms  c  starts: now follower in 1
> quietly elect b
> show
  a: follower in 2 of b; log: 1 1 2; commit 3
  b: leader in 2, serving; log: 1 1 2; commit 3
  c: follower in 2 of b; log: 1 1 2; commit 3
