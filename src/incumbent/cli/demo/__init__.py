"""`incumbent demo`: three real processes, one leader, and what can go wrong with it."""
