A pre-vote changes nobodys term

Dissertation 9.6. A node that cannot win asks again and again. Since it only asks, its own term stays, and so does everybody
else's: nothing is disturbed once it is back.

> cluster a b c
> quietly elect a
> cut c
> quietly run 2s
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: pre_candidate in 1; log: 1; commit 1
> heal
> run 50ms
   2350 ms  c  heartbeat(1 commit 1) from a: leader_heard was=pre_candidate leader=a;
                 → heartbeat_reply(1) to a; now follower in 1 of a
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
