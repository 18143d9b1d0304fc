A stale refusal is not taken for a loss

Raft section 5.3. c refused an append while it lagged, and that refusal is late. Since then c has acknowledged more. The refusal
speaks of the past: c has lost nothing.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> drop a->c append
> propose a "y"
    300 ms  a  propose #2 "y": → append(1 after 2/1: 3/1"y", commit 1) to b c; durable 3/1"y";
                 #2 placed at 3/1
> deliver a->c append
    300 ms  c  append(1 after 2/1: 3/1"y", commit 1) from a: append_refused prev=2 hint=2 conflict=0;
                 → append_reply(1 no 2, try 2) to a
> hold c->a append_reply
> run 50ms
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  b  append(1 after 2/1: 3/1"y", commit 1) from a: durable 3/1"y"; → append_reply(1 has 3) to a
    300 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b; applies 2"x"
    300 ms  a  append_reply(1 has 3) from b: → heartbeat(1 commit 3) to b; applies 3"y"
    300 ms  b  heartbeat(1 commit 2) from a: applies 2"x"
    300 ms  b  heartbeat(1 commit 3) from a: applies 3"y"
    350 ms  a  heartbeat_reply(1) from c: → append(1 after 1/1: 2/1"x" 3/1"y", commit 3) to c
    350 ms  c  append(1 after 1/1: 2/1"x" 3/1"y", commit 3) from a: durable 2/1"x" 3/1"y";
                 → append_reply(1 has 3) to a; applies 2"x" 3"y"
    350 ms  a  append_reply(1 has 3) from c
> deliver c->a append_reply
    350 ms  a  append_reply(1 no 2, try 2) from c: refusal_stale follower=c refused=2
> show
  a: leader in 1, serving; log: 1 1 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 3
  c: follower in 1 of a; log: 1 1 1; commit 3
