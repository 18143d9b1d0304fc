A stale read round counts for nothing

Dissertation 6.4. A read asks whether a leads after the read came. An answer to an earlier heartbeat proves only what was so
before, so the answer to round 1 says nothing about round 2.

> cluster a b c
> quietly elect a
> cut c
> read a
    300 ms  a  read #1: → heartbeat(1 commit 1 round 1) to b c (cut off)
> deliver a->b
    300 ms  b  heartbeat(1 commit 1 round 1) from a: → heartbeat_reply(1 round 1) to a
> hold b->a
> read a
    300 ms  a  read #2: → heartbeat(1 commit 1 round 2) to b c (cut off)
> drop a->b
> deliver b->a
    300 ms  a  heartbeat_reply(1 round 1) from b: #1 may read at 1
> wait 50ms
> deliver a->b
    350 ms  b  heartbeat(1 commit 1 round 2) from a: → heartbeat_reply(1 round 2) to a
> deliver b->a
    350 ms  a  heartbeat_reply(1 round 2) from b: #2 may read at 1
