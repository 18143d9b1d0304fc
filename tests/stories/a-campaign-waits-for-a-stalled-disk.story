A campaign waits for a stalled disk

P56. A node whose disk does not answer could only ask for votes that it cannot write down. It waits, and leaves the term to
others.

> cluster a b c
> quietly elect a
> stall b
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> deliver a->b
    300 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: writing 2/1"x"
> crash a
    300 ms  a  crashes
> quietly drop
> wait 700ms
    700 ms  c  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a b; now pre_candidate in 1
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: follower in 1 of a; log: 1 1; commit 1; durable to 1
  c: pre_candidate in 1; log: 1; commit 1
> unstall b
   1000 ms  b  the disk answers: durable 2/1"x"; → append_reply(1 has 2) to a; campaign_waits_for_disk;
                 campaign_waits_for_disk

With a disk that works it asks at its next timeout.

> quietly drop
> quietly elect b
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: leader in 2, serving; log: 1 1 2; commit 3
  c: follower in 2 of b; log: 1 1 2; commit 3
