"""Deterministic applications that a replicated log drives: the protocol, and those that come with the project."""
