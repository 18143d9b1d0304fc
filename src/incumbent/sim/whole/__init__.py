"""The whole gear: real drivers, engines and leadership code, each process on a virtual-time event loop of its own, in the same
worlds, under the same faults and judges as the fast gear."""
