A whole term is passed over at once

Raft section 5.3. b contradicts the leader in six entries of two terms. It names where the conflicting term begins, so that each
question passes over a whole term.

> cluster a b c logs a=1,4,4,4,4,4,4 b=1,2,2,2,3,3,3 c=1,4,4,4,4,4,4 terms b=4
> quietly campaign a
> quietly deliver a->c
> quietly deliver c->a
> quietly deliver a->c
> quietly deliver c->a
> deliver a->b append
    300 ms  b  append(5 after 7/4: 8/5, commit 0) from a: higher_term was=follower to=5;
                 leader_heard was=follower leader=a; append_refused prev=7 hint=5 conflict=3;
                 durable term 5 vote -; → append_reply(5 no 7, try 5) to a; now follower in 5 of a
> deliver b->a append_reply
    300 ms  a  append_reply(5 no 7, try 5) from b:
                 → append(5 after 4/4: 5/4"old" 6/4"old" 7/4"old" 8/5, commit 0) to b
> deliver a->b append
    300 ms  b  append(5 after 4/4: 5/4"old" 6/4"old" 7/4"old" 8/5, commit 0) from a:
                 append_refused prev=4 hint=2 conflict=2; → append_reply(5 no 4, try 2) to a
> deliver b->a append_reply
    300 ms  a  append_reply(5 no 4, try 2) from b:
                 → append(5 after 1/1: 2/4"old" 3/4"old" 4/4"old" 5/4"old" 6/4"old" 7/4"old" 8/5, commit 0) to b
> deliver a->b append
    300 ms  b  append(5 after 1/1: 2/4"old" 3/4"old" 4/4"old" 5/4"old" 6/4"old" 7/4"old" 8/5, commit 0) from a:
                 append_conflict at=2 mine=2 theirs=4;
                 durable cut from 2, 2/4"old" 3/4"old" 4/4"old" 5/4"old" 6/4"old" 7/4"old" 8/5;
                 → append_reply(5 has 8) to a
> show
  a: leader in 5; log: 1 4 4 4 4 4 4 5; commit 0
  b: follower in 5 of a; log: 1 4 4 4 4 4 4 5; commit 0
  c: follower in 5; log: 1 4 4 4 4 4 4; commit 0
