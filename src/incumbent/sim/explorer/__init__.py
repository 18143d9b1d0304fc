"""Every world that three voters of the real core can get into, breadth first. See `incumbent.sim.explore`."""
