A witness does not hear of what no disk with data has

P51, Raft section 5.4.1. Others are sent an entry while a still writes it. A witness is not: if a lost it, w would know of an
entry that nobody can give, and vote for nobody who lacks it. Least of all while b can be asked instead.

> cluster a b w witnesses w
> quietly elect a
> stall a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b; writing 2/1"x"
> crash a
    300 ms  a  crashes, and what it was writing is lost
> quietly drop
> quietly elect b
> show
  a: down; on disk: term 1 vote a; log: 1
  b: leader in 2; log: 1 2; commit 1
  w: follower in 2 of b; log: 1; commit 1
