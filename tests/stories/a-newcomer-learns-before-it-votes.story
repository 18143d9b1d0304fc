A newcomer learns before it votes

P57, dissertation 4.2.1. A voter that lacks the log counts in every quorum and can help with none. So d joins as a learner
first, is sent everything, and counts for nothing until it is asked for as a voter.

> cluster a b c limits promotion_lag_max=1
> quietly elect a
> join d
> change a to a b c d
    300 ms  a  change #1:
                 membership_refused request=1 why=not_caught_up because="let them be learners until they have nearly everything: ['d']";
                 #1 refused: not_caught_up
> change a to a b c learners d
    300 ms  a  change #2: membership_entered at=2 voters=a,b,c outgoing=- learners=d;
                 → append(1 after 1/1: 2/1[voters a b c, learners d], commit 1) to b c d;
                 durable 2/1[voters a b c, learners d]; #2 placed at 2/1
> settle
    300 ms  b  append(1 after 1/1: 2/1[voters a b c, learners d], commit 1) from a:
                 durable 2/1[voters a b c, learners d]; → append_reply(1 has 2) to a
    300 ms  c  append(1 after 1/1: 2/1[voters a b c, learners d], commit 1) from a:
                 durable 2/1[voters a b c, learners d]; → append_reply(1 has 2) to a
    300 ms  d  append(1 after 1/1: 2/1[voters a b c, learners d], commit 1) from a:
                 higher_term was=follower to=1; leader_heard was=follower leader=a;
                 append_refused prev=1 hint=1 conflict=0; durable term 1 vote -;
                 → append_reply(1 no 1, try 1) to a; now follower in 1 of a
    300 ms  a  append_reply(1 has 2) from b: → heartbeat(1 commit 2) to b; applies 2
    300 ms  a  append_reply(1 has 2) from c: → heartbeat(1 commit 2) to c
    300 ms  a  append_reply(1 no 1, try 1) from d:
                 → append(1 after 0/0: 1/1 2/1[voters a b c, learners d], commit 2) to d
    300 ms  b  heartbeat(1 commit 2) from a: applies 2
    300 ms  c  heartbeat(1 commit 2) from a: applies 2
    300 ms  d  append(1 after 0/0: 1/1 2/1[voters a b c, learners d], commit 2) from a:
                 durable 1/1 2/1[voters a b c, learners d]; → append_reply(1 has 2) to a; applies 1 2
    300 ms  a  append_reply(1 has 2) from d
> show
  a: leader in 1, serving; log: 1 1; commit 2; voters a b c, learners d
  b: follower in 1 of a; log: 1 1; commit 2; voters a b c, learners d
  c: follower in 1 of a; log: 1 1; commit 2; voters a b c, learners d
  d: follower in 1 of a; log: 1 1; commit 2; voters a b c, learners d
> change a to a b c d
    300 ms  a  change #3: membership_entered at=3 voters=a,b,c,d outgoing=a,b,c learners=-;
                 → append(1 after 2/1: 3/1[voters a b c d, outgoing a b c], commit 2) to b c d;
                 durable 3/1[voters a b c d, outgoing a b c]; #3 placed at 3/1
> quietly settle
> show
  a: leader in 1, serving; log: 1 1 1 1; commit 4; voters a b c d
  b: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  c: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
  d: follower in 1 of a; log: 1 1 1 1; commit 4; voters a b c d
