A membership that is cut restores the one before

P57, Raft section 6. a begins a change that reaches nobody. The next leader knows nothing of it and overwrites the entry; with
it goes the membership, and a counts as before.

> cluster a b c learners d
> quietly elect a
> cut a
> change a to a b c d
    300 ms  a  change #1: membership_entered at=2 voters=a,b,c,d outgoing=a,b,c learners=-;
                 → append(1 after 1/1: 2/1[voters a b c d, outgoing a b c], commit 1) to b (cut off) c (cut off) d (cut off);
                 durable 2/1[voters a b c d, outgoing a b c]; #1 placed at 2/1
> show
  a: leader in 1, serving; log: 1 1; commit 1; voters a b c d, outgoing a b c
  b: follower in 1 of a; log: 1; commit 1
  c: follower in 1 of a; log: 1; commit 1
  d: follower in 1 of a; log: 1; commit 1
> run 300ms
    600 ms  a  alarm: quorum_lost was=leader to=1; now follower in 1
> quietly elect b
> heal
> run 50ms
    700 ms  a  heartbeat(2 commit 0) from b: higher_term was=follower to=2;
                 leader_heard was=follower leader=b; durable term 2 vote -; → heartbeat_reply(2) to b;
                 now follower in 2 of b
    700 ms  b  heartbeat_reply(2) from a: → append(2 after 1/1: 2/2, commit 2) to a
    700 ms  a  append(2 after 1/1: 2/2, commit 2) from b: append_conflict at=2 mine=1 theirs=2;
                 membership_restored at=2; durable cut from 2, 2/2; → append_reply(2 has 2) to b; applies 2
    700 ms  b  append_reply(2 has 2) from a
> show
  a: follower in 2 of b; log: 1 2; commit 2
  b: leader in 2, serving; log: 1 2; commit 2
  c: follower in 2 of b; log: 1 2; commit 2
  d: follower in 2 of b; log: 1 2; commit 2
