Two followers may commit what their leader has not written

Dissertation 10.2.1. A quorum is a quorum: the leader's own disk need not be part of it. It applies the entry only once it has
it, and does not lose it when it crashes.

> cluster a b c
> quietly elect a
> stall a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; writing 2/1"x"
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b: waits for the disk
    300 ms  a  append_reply(1 has 2) from c: waits for the disk
> unstall a
    300 ms  a  the disk answers: durable 2/1"x"; #1 placed at 2/1; → heartbeat(1 commit 2) to b c;
                 applies 2"x"
> settle
    300 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
    300 ms  c  heartbeat(1 commit 2) from a: applies 2"x"
