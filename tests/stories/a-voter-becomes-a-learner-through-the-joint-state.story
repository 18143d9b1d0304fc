A voter becomes a learner through the joint state

Dissertation 4.3. Until the change is over c has a vote among the old voters and none among the new: it is never voter and
learner at one time.

> cluster a b c
> quietly elect a
> change a to a b learners c
    300 ms  a  change #1: membership_entered at=2 voters=a,b outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters a b, outgoing a b c, learners next c], commit 1) to b c;
                 durable 2/1[voters a b, outgoing a b c, learners next c]; #1 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1[voters a b, outgoing a b c, learners next c], commit 1) from a:
                 durable 2/1[voters a b, outgoing a b c, learners next c]; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1[voters a b, outgoing a b c, learners next c], commit 1) from a:
                 durable 2/1[voters a b, outgoing a b c, learners next c]; → append_reply(1 has 2) to a
    300 ms  a  append_reply(1 has 2) from b: membership_left at=3 voters=a,b outgoing=- learners=c;
                 → append(1 after 2/1: 3/1[voters a b, learners c], commit 2) to b c;
                 durable 3/1[voters a b, learners c]; applies 2
    300 ms  a  append_reply(1 has 2) from c
    300 ms  b  append(1 after 2/1: 3/1[voters a b, learners c], commit 2) from a:
                 durable 3/1[voters a b, learners c]; → append_reply(1 has 3) to a; applies 2
    300 ms  c  append(1 after 2/1: 3/1[voters a b, learners c], commit 2) from a:
                 durable 3/1[voters a b, learners c]; → append_reply(1 has 3) to a; applies 2
    300 ms  a  append_reply(1 has 3) from b: → heartbeat(1 commit 3) to b; applies 3
    300 ms  a  append_reply(1 has 3) from c: → heartbeat(1 commit 3) to c
    300 ms  b  heartbeat(1 commit 3) from a: applies 3
    300 ms  c  heartbeat(1 commit 3) from a: applies 3
> show
  a: leader in 1, serving; log: 1 1 1; commit 3; voters a b, learners c
  b: follower in 1 of a; log: 1 1 1; commit 3; voters a b, learners c
  c: follower in 1 of a; log: 1 1 1; commit 3; voters a b, learners c
