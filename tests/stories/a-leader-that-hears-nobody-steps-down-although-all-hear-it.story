A leader that hears nobody steps down although all hear it

P52, dissertation 6.2. a's heartbeats arrive, and the answers do not. The others will not elect anybody while they hear a, and a
can commit nothing: it has to go by itself.

> cluster a b c
> quietly elect a
> cut ->a
> quietly run 250ms
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
> run 50ms
    600 ms  a  alarm: quorum_lost was=leader to=1; now follower in 1
> quietly run 300ms
> show
  a: pre_candidate in 1; log: 1; commit 1
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
