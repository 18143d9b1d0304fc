"""PURE. The judges: they read what was recorded and say whether it was clean. They share no code with what they judge."""
