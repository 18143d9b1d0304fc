"""One leader, provably."""
