A preferred voter that is behind waits

P43, dissertation 3.10. c should lead, and the delay is over just when c lacks an entry that is committed. A preference never
hands leadership to who could not win: c is asked once it has everything.

> cluster a b c priorities c=1 timing preemption_delay=1s
> quietly elect a
> quietly run 999ms
> propose a "x"
   1299 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> hold a->c append
> settle
   1299 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
   1299 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b; applies 2"x"
   1299 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
> wait 1ms
> deliver a->c append
   1300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
> deliver c->a
   1300 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to c
> wait 50ms
   1350 ms  a  alarm: preempted to=c; transfer_started to=c; transfer_sent to=c;
                 → heartbeat(1 commit 2) to b c; → timeout_now(1) to c
