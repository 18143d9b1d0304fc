"""What is built on an elected leader. `ring`: a cache ring under one view, decided by its coordinator (`view`)."""
