A late append never shortens the log

Raft section 5.3. Messages overtake each other. An append that was sent first and arrives last holds less than b has by now: b
keeps everything, and acknowledges what the append was about.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> hold a->b append
> propose a "y"
    300 ms  a  propose #2 "y": → append(1 after 2/1: 3/1"y", commit 1) to b c; durable 3/1"y";
                 #2 placed at 3/1
> settle
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  b  append(1 after 2/1: 3/1"y", commit 1) from a: append_refused prev=2 hint=2 conflict=0;
                 → append_reply(1 no 2, try 2) to a
    300 ms  c  append(1 after 2/1: 3/1"y", commit 1) from a: durable 3/1"y"; → append_reply(1 has 3) to a
    300 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to c; applies 2"x"
    300 ms  a  append_reply(1 no 2, try 2) from b: → append(1 after 1/1: 2/1"x" 3/1"y", commit 2) to b
    300 ms  a  append_reply(1 has 3) from c: → heartbeat(1 commit 3) to c; applies 3"y"
    300 ms  c  heartbeat(1 commit 2) from a: applies 2"x"
    300 ms  b  append(1 after 1/1: 2/1"x" 3/1"y", commit 2) from a: durable 2/1"x" 3/1"y";
                 → append_reply(1 has 3) to a; applies 2"x"
    300 ms  c  heartbeat(1 commit 3) from a: applies 3"y"
    300 ms  a  append_reply(1 has 3) from b: → heartbeat(1 commit 3) to b
    300 ms  b  heartbeat(1 commit 3) from a: applies 3"y"
> show messages
  a→b append(1 after 1/1: 2/1"x", commit 1) (held)
> deliver a->b append
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: → append_reply(1 has 2) to a
> show
  a: leader in 1, serving; log: 1 1 1; commit 3
  b: follower in 1 of a; log: 1 1 1; commit 3
  c: follower in 1 of a; log: 1 1 1; commit 3
