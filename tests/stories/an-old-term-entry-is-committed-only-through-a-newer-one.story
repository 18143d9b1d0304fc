An old-term entry is committed only through a newer one

Raft section 5.4.2, figure 8 (c). b leads again in term 4 and brings its entry of term 2 to a quorum. That does not commit it: e
holds an entry of term 3 and could still win. Only an entry of term 4 on a quorum decides, and all before it with it.

> cluster a b c d e logs a=1,2 b=1,2 c=1 d=1 e=1,3 terms a=3 b=3 c=3 d=3 limits append_entries_max=1
> cut d e
> quietly campaign b
> quietly deliver b->
> quietly deliver ->b
> quietly deliver b->
> quietly deliver ->b vote_reply
> hold b->a
> settle
    350 ms  c  heartbeat(4 commit 0) from b: leader_heard was=follower leader=b; → heartbeat_reply(4) to b;
                 now follower in 4 of b
    350 ms  c  append(4 after 2/2: 3/4, commit 0) from b: append_refused prev=2 hint=2 conflict=0;
                 → append_reply(4 no 2, try 2) to b
    350 ms  b  append_reply(4 no 2, try 2) from c: → append(4 after 1/1: 2/2"old", commit 0) to c
    350 ms  c  append(4 after 1/1: 2/2"old", commit 0) from b: durable 2/2"old";
                 → append_reply(4 has 2) to b
    350 ms  b  append_reply(4 has 2) from c: → append(4 after 2/2: 3/4, commit 0) to c
    350 ms  c  append(4 after 2/2: 3/4, commit 0) from b: durable 3/4; → append_reply(4 has 3) to b
    350 ms  b  append_reply(4 has 3) from c
> show
  a: follower in 4; log: 1 2; commit 0
  b: leader in 4; log: 1 2 4; commit 0
  c: follower in 4 of b; log: 1 2 4; commit 0
  d: follower in 3; log: 1; commit 0
  e: follower in 3; log: 1 3; commit 0

a's copy of 2/2 was there all along. Its answer tells b so, and carries 3/4 with it.

> deliver b->a append
    350 ms  a  append(4 after 2/2: 3/4, commit 0) from b: leader_heard was=follower leader=b; durable 3/4;
                 → append_reply(4 has 3) to b; now follower in 4 of b
> settle
    350 ms  b  append_reply(4 has 3) from a: serving start=3; → heartbeat(4 commit 3) to a c;
                 applies 1"old" 2"old" 3; now leader in 4, serving
    350 ms  a  heartbeat(4 commit 3) from b: → heartbeat_reply(4) to b; applies 1"old" 2"old" 3
    350 ms  c  heartbeat(4 commit 3) from b: → heartbeat_reply(4) to b; applies 1"old" 2"old" 3
> show
  a: follower in 4 of b; log: 1 2 4; commit 3
  b: leader in 4, serving; log: 1 2 4; commit 3
  c: follower in 4 of b; log: 1 2 4; commit 3
  d: follower in 3; log: 1; commit 0
  e: follower in 3; log: 1 3; commit 0
