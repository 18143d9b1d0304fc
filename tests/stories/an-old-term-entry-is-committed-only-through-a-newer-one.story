An old-term entry is committed only through a newer one

Raft section 5.4.2, figure 8 (c). b leads in term 4 and brings its entry of term 2 to a quorum: b, c and d. That does not commit
it, since e holds an entry of term 3 and could still win. Only an entry of term 4 on a quorum decides, and all before it with
it.

> cluster a b c d e logs a=1,2 b=1,2 c=1 d=1 e=1,3 terms a=3 b=3 c=3 d=3 limits append_entries_max=1
> cut a e
> quietly campaign b
> quietly deliver b->
> quietly deliver ->b
> quietly deliver b->
> quietly deliver ->b
> quietly deliver b->
> quietly deliver ->b

c and d have refused what they cannot place, and are sent the entry of term 2, one entry at a time.

> deliver b-> append
    350 ms  c  append(4 after 1/1: 2/2"old", commit 0) from b: durable 2/2"old";
                 → append_reply(4 has 2) to b
    350 ms  d  append(4 after 1/1: 2/2"old", commit 0) from b: durable 2/2"old";
                 → append_reply(4 has 2) to b
> deliver ->b append_reply
    350 ms  b  append_reply(4 has 2) from c: → append(4 after 2/2: 3/4, commit 0) to c
    350 ms  b  append_reply(4 has 2) from d: commit_waits_for_own_term index=2;
                 → append(4 after 2/2: 3/4, commit 0) to d
> show
  a: follower in 3; log: 1 2; commit 0
  b: leader in 4; log: 1 2 4; commit 0
  c: follower in 4 of b; log: 1 2; commit 0
  d: follower in 4 of b; log: 1 2; commit 0
  e: follower in 3; log: 1 3; commit 0
> settle
    350 ms  c  append(4 after 2/2: 3/4, commit 0) from b: durable 3/4; → append_reply(4 has 3) to b
    350 ms  d  append(4 after 2/2: 3/4, commit 0) from b: durable 3/4; → append_reply(4 has 3) to b
    350 ms  b  append_reply(4 has 3) from c: commit_waits_for_own_term index=2
    350 ms  b  append_reply(4 has 3) from d: serving start=3; → heartbeat(4 commit 3) to c d;
                 applies 1"old" 2"old" 3; now leader in 4, serving
    350 ms  c  heartbeat(4 commit 3) from b: applies 1"old" 2"old" 3
    350 ms  d  heartbeat(4 commit 3) from b: applies 1"old" 2"old" 3
> show
  a: follower in 3; log: 1 2; commit 0
  b: leader in 4, serving; log: 1 2 4; commit 3
  c: follower in 4 of b; log: 1 2 4; commit 3
  d: follower in 4 of b; log: 1 2 4; commit 3
  e: follower in 3; log: 1 3; commit 0
