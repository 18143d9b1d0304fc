A node alone elects itself

Raft section 5.2. With one voter a quorum is one, and there is nobody to ask. Its vote still has to be durable before it counts.

> cluster a
> stall a
> campaign a
    300 ms  a  alarm: campaign_timeout last=0; pre_vote_won votes=1; writing term 1 vote a
> show
  a: candidate in 1; log: empty; commit 0; durable to 0
> unstall a
    300 ms  a  the disk answers: durable term 1 vote a; now candidate in 1; became_leader start=1;
                 durable 1/1; now leader in 1; serving start=1; applies 1; now leader in 1, serving
> propose a "x"
    300 ms  a  propose #1 "x": durable 2/1"x"; #1 placed at 2/1; applies 2"x"
> crash a
    300 ms  a  crashes
> restart a
    300 ms  a  starts: now follower in 1
> elect a
    600 ms  a  alarm: campaign_timeout last=2; pre_vote_won votes=1; durable term 2 vote a;
                 now candidate in 2; became_leader start=3; durable 3/2; now leader in 2; serving start=3;
                 applies 1 2"x" 3; now leader in 2, serving
