A wiped disk comes back as another voter

P55. c's disk is gone, and with it c's votes. A node that came back as c could vote a second time in a term. The new disk has a
new name, is a member like any newcomer, and takes c's place in one change.

> cluster a b c
> quietly elect a
> quietly propose a "x"
> quietly settle
> crash c
    300 ms  c  crashes
> join c2
> quietly change a to a b c learners c2
> quietly settle
> show
  a: leader in 1, serving; log: 1 1 1; commit 3; voters a b c, learners c2
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b c, learners c2
  c: down; on disk: term 1 vote a; log: 1 1
  c2: follower in 1 of a; log: 1 1 1; commit 3; voters a b c, learners c2
> change a to a b c2
    300 ms  a  change #3: membership_entered at=4 voters=a,b,c2 outgoing=a,b,c learners=-;
                 → append(1 after 3/1: 4/1[voters a b c2, outgoing a b c], commit 3) to b c c2;
                 durable 4/1[voters a b c2, outgoing a b c]; #3 placed at 4/1
> quietly settle
> show
  a: leader in 1, serving; log: 1 1 1 1 1; commit 5; voters a b c2
  b: follower in 1 of a; log: 1 1 1 1 1; commit 5; voters a b c2
  c: down; on disk: term 1 vote a; log: 1 1
  c2: follower in 1 of a; log: 1 1 1 1 1; commit 5; voters a b c2
