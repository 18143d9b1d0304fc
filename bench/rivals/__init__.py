"""The systems that ours is measured against, each driven by the fastest client that could be had."""
