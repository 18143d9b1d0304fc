"""PURE. One voter: a consensus replica, the machine it feeds, the requests in flight, and lease expiry."""
