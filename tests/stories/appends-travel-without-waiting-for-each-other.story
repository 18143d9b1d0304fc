Appends travel without waiting for each other

Dissertation 10.2.2. The leader sends ahead to a follower that keeps up, as many appends as the limit allows. Answers free places;
here there are two.

> cluster a b c limits in_flight_appends_max=2
> quietly elect a
> cut c
> propose a "u" "v" "w" "x"
    300 ms  a  propose #1 "u": → append(1 after 1/1: 2/1"u", commit 1) to b c (cut off); durable 2/1"u";
                 #1 placed at 2/1
    300 ms  a  propose #2 "v": → append(1 after 2/1: 3/1"v", commit 1) to b c (cut off); durable 3/1"v";
                 #2 placed at 3/1
    300 ms  a  propose #3 "w": durable 4/1"w"; #3 placed at 4/1
    300 ms  a  propose #4 "x": durable 5/1"x"; #4 placed at 5/1
> show messages
  a→b append(1 after 1/1: 2/1"u", commit 1)
  a→b append(1 after 2/1: 3/1"v", commit 1)
> deliver a->b
    300 ms  b  append(1 after 1/1: 2/1"u", commit 1) from a: durable 2/1"u"; → append_reply(1 has 2) to a
    300 ms  b  append(1 after 2/1: 3/1"v", commit 1) from a: durable 3/1"v"; → append_reply(1 has 3) to a
> deliver b->a
    300 ms  a  append_reply(1 has 2) from b: → append(1 after 3/1: 4/1"w" 5/1"x", commit 2) to b;
                 applies 2"u"
    300 ms  a  append_reply(1 has 3) from b: → heartbeat(1 commit 3) to b; applies 3"v"
> settle
    300 ms  b  append(1 after 3/1: 4/1"w" 5/1"x", commit 2) from a: durable 4/1"w" 5/1"x";
                 → append_reply(1 has 5) to a; applies 2"u"
    300 ms  b  heartbeat(1 commit 3) from a: applies 3"v"
    300 ms  a  append_reply(1 has 5) from b: → heartbeat(1 commit 5) to b; applies 4"w" 5"x"
    300 ms  b  heartbeat(1 commit 5) from a: applies 4"w" 5"x"
