A read waits for the terms own entry

Dissertation 6.4. A new leader has everything that was committed, and does not know yet what that is. Only once an entry of its
own term is committed may it serve reads.

> cluster a b c
> quietly campaign a
> quietly deliver a->b
> quietly deliver b->a
> quietly deliver a->b
> quietly deliver b->a
> read a
    300 ms  a  read #1: read_waits request=1 start=1
> deliver a->b append
    300 ms  b  append(1 after 0/0: 1/1, commit 0) from a: leader_heard was=follower leader=a; durable 1/1;
                 → append_reply(1 has 1) to a; now follower in 1 of a
> deliver b->a append_reply
    300 ms  a  append_reply(1 has 1) from b: serving start=1; → heartbeat(1 commit 1 round 1) to b;
                 → heartbeat(1 commit 0 round 1) to c; applies 1; now leader in 1, serving
> deliver a->b heartbeat
    300 ms  b  heartbeat(1 commit 0) from a: → heartbeat_reply(1) to a
    300 ms  b  heartbeat(1 commit 1 round 1) from a: → heartbeat_reply(1 round 1) to a; applies 1
> deliver b->a heartbeat_reply
    300 ms  a  heartbeat_reply(1) from b
    300 ms  a  heartbeat_reply(1 round 1) from b: #1 may read at 1
