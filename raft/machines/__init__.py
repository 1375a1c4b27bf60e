"""Deterministic applications that a replicated log drives, and the protocol that all of them follow."""
