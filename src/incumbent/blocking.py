"""Leader election for code that blocks: the same as `incumbent`, on an event loop in a daemon thread.

with incumbent.blocking.connect("local:///var/lib/app", ttl=5.0) as cluster:
    with cluster.election("scheduler").campaign() as term:      # waits until elected
        while True:
            term.check()                                        # raises LeadershipLost: stop
            work(fencing_token=term.token)
"""

from __future__ import annotations

from incumbent.leadership.blocking import Cluster, Election, connect

__all__ = ["Cluster", "Election", "connect"]
