A deposed leader refuses its reads

P52, dissertation 6.4. a was asked to read and cannot prove that it leads. It neither answers from what it has nor keeps silent.

> cluster a b c
> quietly elect a
> cut a
> read a
    300 ms  a  read #1: → heartbeat(1 commit 1 round 1) to b (cut off) c (cut off)
> run 200ms
> run 100ms
    600 ms  a  alarm: quorum_lost was=leader to=1; #1 refused: not_leader; now follower in 1
