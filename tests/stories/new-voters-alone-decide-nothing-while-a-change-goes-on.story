New voters alone decide nothing while a change goes on

P57, Raft section 6. a, d and e are all of the new voters, and a is one of three old ones. b and c, who know nothing of a
change, elect one of themselves: so nothing may be decided without one of them.

> cluster a b c learners d e
> quietly elect a
> cut b c
> change a to a d e
    300 ms  a  change #1: membership_entered at=2 voters=a,d,e outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) to b (cut off) c (cut off) d e;
                 durable 2/1[voters a d e, outgoing a b c]; #1 placed at 2/1
> settle
    300 ms  d  append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) from a:
                 durable 2/1[voters a d e, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  e  append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) from a:
                 durable 2/1[voters a d e, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from d
    300 ms  a  append_reply(1 has 2) from e
> show
  a: leader in 1, serving; log: 1 1; commit 1; voters a d e, outgoing a b c
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
  d: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  e: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
> run 300ms
    600 ms  a  alarm: quorum_lost was=leader to=1; now follower in 1
> quietly run 50ms
> show
  a: follower in 1; log: 1 1; commit 1; voters a d e, outgoing a b c
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
  d: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  e: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
