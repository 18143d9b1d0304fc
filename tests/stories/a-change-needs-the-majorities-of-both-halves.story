A change needs the majorities of both halves

Raft section 6. While voters change, the old and the new ones must both agree: else each could decide alone. d and e are
learners that have everything; once they vote, a and b are no majority of the new voters, though they still are of the old.

> cluster a b c learners d e
> quietly elect a
> cut d e
> change a to a d e
    300 ms  a  change #1: membership_entered at=2 voters=a,d,e outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) to b c d (cut off) e (cut off);
                 durable 2/1[voters a d e, outgoing a b c]; #1 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) from a:
                 durable 2/1[voters a d e, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1[voters a d e, outgoing a b c], commit 1) from a:
                 durable 2/1[voters a d e, outgoing a b c]; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b
    300 ms  a  append_reply(1 has 2) from c
> show
  a: leader in 1, serving; log: 1 1; commit 1; voters a d e, outgoing a b c
  b: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  c: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  d: follower in 1 of a; log: 1; commit 1
  e: follower in 1 of a; log: 1; commit 1
> heal
> quietly run 50ms
> show
  a: leader in 1, serving; log: 1 1 1; commit 3; voters a d e
  b: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  c: follower in 1 of a; log: 1 1; commit 1; voters a d e, outgoing a b c
  d: follower in 1 of a; log: 1 1 1; commit 3; voters a d e
  e: follower in 1 of a; log: 1 1 1; commit 3; voters a d e
