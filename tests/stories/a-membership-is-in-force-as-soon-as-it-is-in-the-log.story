A membership is in force as soon as it is in the log

Raft section 6. b has the joint membership in its log, not committed, and no leader. It needs a majority of both halves all the
same: its own vote and c's are enough of the old voters, and not of the new ones. With d's they are.

> cluster a b c learners d e
> quietly elect a
> change a to b d e
    300 ms  a  change #1: membership_entered at=2 voters=b,d,e outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters b d e, outgoing a b c], commit 1) to b c d e;
                 durable 2/1[voters b d e, outgoing a b c]; #1 placed at 2/1
> deliver a->b
    300 ms  b  append(1 after 1/1: 2/1[voters b d e, outgoing a b c], commit 1) from a:
                 durable 2/1[voters b d e, outgoing a b c]; → append_reply(1 has 2) to a
> crash a
    300 ms  a  crashes
> quietly drop
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: follower in 1 of a; log: 1 1; commit 1; voters b d e, outgoing a b c
  c: follower in 1 of a; log: 1; commit 1
  d: follower in 1 of a; log: 1; commit 1
  e: follower in 1 of a; log: 1; commit 1
> cut d e
> campaign b
    650 ms  b  alarm: campaign_timeout last=2; → pre_vote(2 last 2/1) to a c d (cut off) e (cut off);
                 now pre_candidate in 1
> settle
    650 ms  a  is down, so lost: pre_vote(2 last 2/1) from b
    650 ms  c  pre_vote(2 last 2/1) from b: pre_vote_granted to=b asked=2; → pre_vote_reply(2 yes) to b
    650 ms  b  pre_vote_reply(2 yes) from c
> heal
> quietly run 400ms
> show
  a: down; on disk: term 1 vote a; log: 1 1
  b: leader in 2, serving; log: 1 1 2 2; commit 4; voters b d e
  c: follower in 2 of b; log: 1 1 2; commit 1; voters b d e, outgoing a b c
  d: follower in 2 of b; log: 1 1 2 2; commit 4; voters b d e
  e: follower in 2 of b; log: 1 1 2 2; commit 4; voters b d e
