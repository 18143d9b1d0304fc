A leader whose disk stalls steps down

P56. A leader that cannot write can decide nothing. After an election timeout it steps down, so that one whose disk works takes
over, although no process and no link has failed.

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
> wait 300ms
> show
  a: follower in 1; log: 1 1; commit 2; applied 1; durable to 1
  b: follower in 1 of a; log: 1 1; commit 1
  c: follower in 1 of a; log: 1 1; commit 1
> unstall a
    600 ms  a  the disk answers: durable 2/1"x"; #1 placed at 2/1; disk_stalled was=leader to=1;
                 → heartbeat(1 commit 2) to b c b c b c b c b c; applies 2"x"; now follower in 1
> show
  a: follower in 1; log: 1 1; commit 2
  b: follower in 1 of a; log: 1 1; commit 1
  c: follower in 1 of a; log: 1 1; commit 1
