A transfer that fails lets proposals resume

P54, dissertation 3.10. c is gone. After an election timeout a gives up, says so, and takes proposals again; the leadership stays.

> cluster a b c
> quietly elect a
> crash c
    300 ms  c  crashes
> transfer a to c
    300 ms  a  transfer #1 to c: transfer_started to=c; transfer_sent to=c; → timeout_now(1) to c
> propose a "x"
    300 ms  a  propose #2 "x": proposal_refused request=2 leader=a why=transferring;
                 #2 refused: transferring
> transfer a to b
    300 ms  a  transfer #3 to b: transfer_refused request=3 to=b why=transferring; #3 refused: transferring
> run 299ms
    300 ms  c  is down, so lost: timeout_now(1) from a
> run 1ms
    600 ms  a  alarm: transfer_aborted to=c leader=a; → heartbeat(1 commit 1) to b c; durable term 1 vote a;
                 #1 refused: transfer_failed
> propose a "y"
    600 ms  a  propose #4 "y": → append(1 after 1/1: 2/1"y", commit 1) to b c; durable 2/1"y";
                 #4 placed at 2/1
