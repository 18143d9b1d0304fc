A preferred voter that cannot take over is not asked again at once

P43. c should lead and does not answer what a asks of it: the request to take over is lost. The transfer fails, and a waits for
the whole delay again, so that a preference cannot keep a cluster from its work.

> cluster a b c priorities c=1 timing preemption_delay=1s
> quietly elect a
> quietly run 950ms
> wait 50ms
   1300 ms  a  alarm: preempted to=c; transfer_started to=c; transfer_sent to=c;
                 → heartbeat(1 commit 1) to b c; → timeout_now(1) to c
> drop a->c timeout_now
> run 300ms
   1600 ms  a  alarm: transfer_aborted to=c leader=a; → heartbeat(1 commit 1) to b c
> quietly run 650ms
> show
  a: leader in 1, serving; log: 1; commit 1
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
> wait 50ms
   2300 ms  a  alarm: preempted to=c; transfer_started to=c; transfer_sent to=c;
                 → heartbeat(1 commit 1) to b c; → timeout_now(1) to c
