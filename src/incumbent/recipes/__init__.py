"""What is built on rosters and elected leaders.

`lock`: its first member. `semaphore`: n of them. `membership`: all of them. `schedule`: work once per tick (`ticks`), by the leader.
`ring`: a cache ring under one view, decided by its coordinator (`view`). `blocking`: all of them for threads.
"""
