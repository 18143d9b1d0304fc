"""What is built on an elected leader. `ring`: one view of a cache ring, decided by its coordinator."""
