A minority elects nobody

Raft section 5.2. Two of five ask and ask, and never take a new term. When they are back, nothing has to be put right.

> cluster a b c d e
> quietly elect c
> cut a b
> quietly run 3s
> show
  a: pre_candidate in 1; log: 1; commit 1
  b: pre_candidate in 1; log: 1; commit 1
  c: leader in 1, serving; log: 1; commit 1
  d: follower in 1 of c; log: 1; commit 1
  e: follower in 1 of c; log: 1; commit 1
> heal
> quietly run 50ms
> show
  a: follower in 1 of c; log: 1; commit 1
  b: follower in 1 of c; log: 1; commit 1
  c: leader in 1, serving; log: 1; commit 1
  d: follower in 1 of c; log: 1; commit 1
  e: follower in 1 of c; log: 1; commit 1
