A vote is refused by what the log holds by then

Raft section 5.4.1. c wins its pre-vote while b's log is no longer than its own. Before the vote request arrives, b is given a
late entry that a quorum may have by now. A pre-vote promises nothing: the vote itself is refused.

> cluster a b c
> quietly elect a
> propose a "x"
    300 ms  a  propose #1 "x": → append(1 after 1/1: 2/1"x", commit 1) to b c; durable 2/1"x";
                 #1 placed at 2/1
> hold a->b append
> cut c
> crash a
    300 ms  a  crashes
> quietly campaign c
> heal
> campaign c
   1100 ms  c  alarm: campaign_timeout last=1; → pre_vote(2 last 1/1) to a b
> deliver c->b
   1100 ms  b  pre_vote(2 last 1/1) from c: pre_vote_granted to=c asked=2; → pre_vote_reply(2 yes) to c
> deliver b->c
   1100 ms  c  pre_vote_reply(2 yes) from b: pre_vote_won votes=2; durable term 2 vote c;
                 → vote(2 last 1/1) to a b; now candidate in 2
> deliver a->b append
   1100 ms  b  append(1 after 1/1: 2/1"x", commit 1) from a: durable 2/1"x"; → append_reply(1 has 2) to a
> wait 300ms
> deliver c->b vote
   1400 ms  b  vote(2 last 1/1) from c: higher_term was=follower to=2; vote_refused_log to=c voted=-;
                 durable term 2 vote -; → vote_reply(2 no) to c; now follower in 2
