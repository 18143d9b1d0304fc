A slow disk does not hold up the others

P56. c's disk takes its time. Everybody else commits and goes on; c catches up with one write.

> cluster a b c
> quietly elect a
> stall c
> quietly propose a "x"
> quietly settle
> quietly propose a "y" "z"
> quietly settle
> show
  a: leader in 1, serving; log: 1 1 1 1; commit 4
  b: follower in 1 of a; log: 1 1 1 1; commit 4
  c: follower in 1 of a; log: 1 1 1 1; commit 2; applied 1; durable to 1
> unstall c
    300 ms  c  the disk answers: durable 2/1"x"; → append_reply(1 has 2) to a; durable 3/1"y" 4/1"z";
                 → append_reply(1 has 3) to a; → append_reply(1 has 4) to a; applies 2"x"
> settle
    300 ms  a  append_reply(1 has 2) from c
    300 ms  a  append_reply(1 has 3) from c: → heartbeat(1 commit 3) to c
    300 ms  a  append_reply(1 has 4) from c: → heartbeat(1 commit 4) to c
    300 ms  c  heartbeat(1 commit 3) from a: applies 3"y"
    300 ms  c  heartbeat(1 commit 4) from a: applies 4"z"
> show
  a: leader in 1, serving; log: 1 1 1 1; commit 4
  b: follower in 1 of a; log: 1 1 1 1; commit 4
  c: follower in 1 of a; log: 1 1 1 1; commit 4
