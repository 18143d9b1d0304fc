"""Thin faces of a running process for those who only ask: load balancers and scrapers."""
