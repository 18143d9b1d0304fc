A leaders own copy counts once it is durable

P51, dissertation 10.2.1. A leader sends before its own disk is done, so that all disks write at one time. Its own copy counts
only once it is written: here one follower has the entry first, and that is no quorum yet.

> cluster a b c
> quietly elect a
> cut c
> stall a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c (cut off); writing 2/1"x"
> settle
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b: waits for the disk
> show
  a: leader in 1, serving; log: 1 1; commit 1; durable to 1
  b: follower in 1 of a; log: 1 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
> unstall a
    300 ms  a  the disk answers: durable 2/1"x"; #1 placed at 2/1; → heartbeat(1 commit 2) to b;
                 applies 2"x"
