"""One voter's disk: the log in segments, the snapshots beside it. docs/explanation/storage.md tells the format and the why."""
