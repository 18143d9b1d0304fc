The vote requests of a campaign that is over do not leave

Raft section 5.2. a wins its pre-vote while its disk is busy with a snapshot, so its vote requests have to wait. Meanwhile c is
elected in that term. A request that left after all would speak of a log which c may be cutting.

> cluster a b c
> quietly elect b
> crash b
    350 ms  b  crashes
> quietly campaign a
> stall a
> snapshot a
    650 ms  a  snapshot at 1: snapshot_taken at=1 bytes=7; writing snapshot 1/1
> quietly restart b
> quietly deliver a->c
> deliver c->a
    650 ms  a  pre_vote_reply(2 yes) from c: waits for the disk
> show messages
  a→b pre_vote(2 last 1/1)
> quietly campaign c
> quietly deliver c->b
> quietly deliver b->c
> quietly deliver c->b
> quietly deliver b->c
> deliver c->a heartbeat
    750 ms  a  heartbeat(2 commit 0) from c: waits for the disk
> unstall a
    750 ms  a  the disk answers: durable snapshot 1/1; pre_vote_won votes=2;
                 leader_heard was=candidate leader=c; durable term 2 vote a; → heartbeat_reply(2) to c;
                 now follower in 2 of c
