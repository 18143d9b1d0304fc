A request to take over that comes late is still followed

P54, dissertation 3.10. a has given up its transfer to c, and the request was only late. c campaigns, and those who hear a vote
all the same: it costs a term and a moment, and nothing that was committed.

> cluster a b c
> quietly elect a
> transfer a to c
    300 ms  a  transfer #1 to c: transfer_started to=c; transfer_sent to=c; → timeout_now(1) to c
> hold a->c timeout_now
> run 300ms
    600 ms  a  alarm: transfer_aborted to=c leader=a; → heartbeat(1 commit 1) to b c; durable term 1 vote a;
                 #1 refused: transfer_failed
> quietly propose a "x"
> quietly settle
> deliver a->c timeout_now
    600 ms  c  timeout_now(1) from a: campaign_handed_over last=2; durable term 2 vote c;
                 → vote(2 last 2/1 handed over) to a b; now candidate in 2
> quietly settle
> show
  a: follower in 2 of c; log: 1 1 2; commit 3
  b: follower in 2 of c; log: 1 1 2; commit 3
  c: leader in 2, serving; log: 1 1 2; commit 3
