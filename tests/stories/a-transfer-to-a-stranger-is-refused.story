A transfer to a stranger is refused

Dissertation 3.10. Only who may lead is asked to. A learner and who is no member are not, and only a leader can hand over.

> cluster a b c learners d
> quietly elect a
> join e
> transfer a to d
    300 ms  a  transfer #1 to d: transfer_refused request=1 to=d why=invalid; #1 refused: invalid
> transfer a to e
    300 ms  a  transfer #2 to e: transfer_refused request=2 to=e why=invalid; #2 refused: invalid
> transfer b to c
    300 ms  b  transfer #3 to c: transfer_refused request=3 to=c why=not_leader; #3 refused: not_leader
> transfer a to a
    300 ms  a  transfer #4 to a: #4 transferred
