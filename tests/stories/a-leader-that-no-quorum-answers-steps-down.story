A leader that no quorum answers steps down

P52, dissertation 6.2. a is cut off. It cannot know whether the others have elected somebody, so it stops leading when no quorum
has answered it for the minimum election timeout: before the others' patience with it is over.

> cluster a b c
> quietly elect a
> cut a
> run 300ms
    600 ms  a  alarm: quorum_lost was=leader to=1; now follower in 1
> show
  a: follower in 1; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
> propose a "x"
    600 ms  a  propose #1 "x": proposal_refused request=1 leader=- why=not_leader; #1 refused: not_leader
