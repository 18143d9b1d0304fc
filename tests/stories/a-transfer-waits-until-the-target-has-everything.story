A transfer waits until the target has everything

Dissertation 3.10. c lacks an entry, so it could not win yet. a takes no more proposals, sends c what it lacks, and only then
asks it to take over.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> hold a->c append
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b; applies 2"x"
    300 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
> transfer a to c
    300 ms  a  transfer #2 to c: transfer_started to=c
> propose a "y"
    300 ms  a  propose #3 "y": proposal_refused request=3 leader=a why=transferring;
                 #3 refused: transferring
> settle
> deliver a->c append
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
> deliver c->a append_reply
    300 ms  a  append_reply(1 has 2) from c: transfer_sent to=c; → timeout_now(1) to c;
                 → heartbeat(1 commit 2) to c
> quietly settle
> show
  a: follower in 2 of c; log: 1 1 2; commit 3
  b: follower in 2 of c; log: 1 1 2; commit 3
  c: leader in 2, serving; log: 1 1 2; commit 3
