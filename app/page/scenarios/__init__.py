"""Scenarios: one press, one thing that goes wrong, and what came of it by the server's own account."""
