A conflicting log is cut where it begins to differ

Raft section 5.3. b has entries of a leader that never committed them. The new leader finds where the logs agree, and b's disk
deletes in the same write in which it puts what is right: after a crash it has either one or the other.

> cluster a b c logs a=1,1,3,3 b=1,1,2,2,2 c=1,1,3,3 terms b=3
> quietly campaign a
> quietly deliver a->c
> quietly deliver c->a
> quietly deliver a->c
> deliver c->a
    300 ms  a  vote_reply(4 yes) from c: became_leader start=5; → heartbeat(4 commit 0) to b c;
                 → append(4 after 4/3: 5/4, commit 0) to b c; durable 5/4; now leader in 4
> deliver a->b append
    300 ms  b  append(4 after 4/3: 5/4, commit 0) from a: higher_term was=follower to=4;
                 leader_heard was=follower leader=a; append_refused prev=4 hint=3 conflict=2;
                 durable term 4 vote -; → append_reply(4 no 4, try 3) to a; now follower in 4 of a
> deliver b->a
    300 ms  a  append_reply(4 no 4, try 3) from b:
                 → append(4 after 2/1: 3/3"old" 4/3"old" 5/4, commit 0) to b
> deliver a->b append
    300 ms  b  append(4 after 2/1: 3/3"old" 4/3"old" 5/4, commit 0) from a:
                 append_conflict at=3 mine=2 theirs=3; durable cut from 3, 3/3"old" 4/3"old" 5/4;
                 → append_reply(4 has 5) to a
> show
  a: leader in 4; log: 1 1 3 3 4; commit 0
  b: follower in 4 of a; log: 1 1 3 3 4; commit 0
  c: follower in 4; log: 1 1 3 3; commit 0
