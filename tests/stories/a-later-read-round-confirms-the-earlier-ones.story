A later read round confirms the earlier ones

Dissertation 6.4. Who leads in round 2 has led in round 1. Lost answers of one round cost nothing once the next one is answered.

> cluster a b c
> quietly elect a
> read a
    300 ms  a  read #1: → heartbeat(1 commit 1 round 1) to b c
> drop a-> heartbeat
> read a
    300 ms  a  read #2: → heartbeat(1 commit 1 round 2) to b c
> drop a->c
> settle
    300 ms  a  heartbeat_reply(1 round 2) from b: #1 may read at 1; #2 may read at 1
