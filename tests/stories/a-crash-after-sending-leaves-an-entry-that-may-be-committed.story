A crash after sending leaves an entry that may be committed

P51. a crashes when "x" is on its disk and on its way. The client never hears of it. Here b has it, and is elected: "x" is
committed.

> cluster a b c
> quietly elect a
> stall a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; writing 2/1"x"
> crash a after send
    300 ms  a  crashes after the send: durable 2/1"x"
> unstall a
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  is down, so lost: append_reply(1 has 2) from b
    300 ms  a  is down, so lost: append_reply(1 has 2) from c
> quietly elect b
> restart a
    650 ms  a  starts: now follower in 1
> quietly run 50ms
> show
  a: follower in 2 of b; log: 1 1 2; commit 3
  b: leader in 2, serving; log: 1 1 2; commit 3
  c: follower in 2 of b; log: 1 1 2; commit 3
